/* berth net remove: removes an idle network now. */
#include <errno.h>

#include "cli/command.h"

static int run_net_remove(struct session *session, const struct arguments *arguments) {
        const char *name = arguments->operands[0];
        int r;

        r = session_connect_running(session);
        if (r < 0)
                return r;
        if (r == 0)
                return error_set(&session->error, -ENOENT, "network %s is not running: no broker is", name);
        r = berth_remove(session->berth, name);
        if (r == -ENOENT)
                return error_set(&session->error, r, "network %s is not running", name);
        if (r < 0)
                return session_broker_error(session, r, "cannot remove network %s", name);
        return STATUS_OK;
}

const struct command command_net_remove = {
        .name = "net remove",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Remove a network that nobody uses, now",
        .help = "Removes a running network without clients at once, instead of after its delay. Its\n"
                "definition stays, and so do its subnet and its names: the next to use it makes it\n"
                "again.",
        .failure = STATUS_FAILED,
        .run = run_net_remove,
};
