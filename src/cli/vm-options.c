/* Options that several commands on VMs take. */
#include "cli/vm-options.h"

#include "base/text.h"

int vm_option_seconds(struct session *session, const struct arguments *arguments, const char *name,
                      uint64_t *ret) {
        const char *value = arguments_value(arguments, name);
        uint64_t seconds;

        if (!value)
                return 0;
        if (text_parse_u64(value, VM_SECONDS_MAX, &seconds) < 0 || seconds == 0)
                return session_misused(session, "--%s %s: not a number of seconds from 1 to %d", name, value,
                                       VM_SECONDS_MAX);
        *ret = seconds;
        return 0;
}
