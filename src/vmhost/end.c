#include "vmhost/end.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

static const char *const by_names[] = {
        [END_BY_GUEST] = "guest", [END_BY_HOST] = "host",       [END_BY_CRASH] = "crash",
        [END_BY_OOM] = "oom",     [END_BY_UNKNOWN] = "unknown",
};

void end_deinit(struct end *end) {
        free(end->reason);
        json_decref(end->console_tail);
        *end = END_INIT;
}

bool end_is_clean(const struct end *end) {
        return end->by == END_BY_GUEST || (end->by == END_BY_HOST && end->stage != STOP_NONE);
}

const char *end_by_name(enum end_by by) {
        return by_names[by];
}

static json_t *known(int value) {
        return value == END_STATUS_UNKNOWN ? json_null() : json_integer(value);
}

json_t *end_to_json(const struct end *end) {
        json_t *tail = end->console_tail ? json_incref(end->console_tail) : json_array();
        _cleanup_free_ char *reason = strdup(end->reason ? end->reason : "");

        /* Of other programs' words, in part. */
        if (reason)
                text_make_utf8(reason);
        return json_pack("{s:I, s:s, s:s, s:o, s:o, s:b, s:s, s:I, s:o}", "at", (json_int_t)end->at_ms, "by",
                         by_names[end->by], "stage", stop_stage_name(end->stage), "exit_code",
                         known(end->exit_code), "signal", known(end->signal), "panicked", end->panicked,
                         "reason", reason, "uptime_ms", (json_int_t)end->uptime_ms, "console_tail", tail);
}

static bool reason_is(const struct end_evidence *evidence, const char *prefix) {
        return evidence->shutdown_reason && text_starts_with(evidence->shutdown_reason, prefix);
}

/* The process alone, where nothing else tells: what a shell would say of it. */
static char *describe_process(const struct end_evidence *evidence) {
        if (!evidence->child)
                return text_format(
                        "QEMU ended without a word; its exit status is not known, for it was adopted");
        if (evidence->signal > 0)
                return text_format("QEMU was ended by signal %d (%s)", evidence->signal,
                                   strsignal(evidence->signal));
        return text_format("QEMU ended by itself with exit code %d", evidence->exit_code);
}

int end_judge(struct end *end, const struct end_evidence *evidence) {
        bool stopping = evidence->stage != STOP_NONE;
        char *reason;

        end->exit_code = evidence->child && evidence->signal == 0 ? evidence->exit_code : END_STATUS_UNKNOWN;
        end->signal = evidence->child ? evidence->signal : END_STATUS_UNKNOWN;
        end->panicked = evidence->panicked;
        end->stage = evidence->stage;

        /* The memory killer first: it may come in the midst of a stop, and is what is to be repaired. Our own
         * SIGKILL looks the same otherwise. */
        if (evidence->out_of_memory && evidence->stage != STOP_SIGKILL) {
                end->by = END_BY_OOM;
                reason = text_format(
                        "the kernel ended QEMU for want of memory, on the host or within its limit");
        } else if (evidence->panicked) {
                end->by = END_BY_CRASH;
                reason = text_format("the guest's kernel panicked");
        } else if (stopping) {
                end->by = END_BY_HOST;
                reason = text_format("stopped on request (%s)", stop_stage_name(evidence->stage));
        } else if (reason_is(evidence, "guest-")) {
                end->by = evidence->watchdog ? END_BY_CRASH : END_BY_GUEST;
                reason = text_format(evidence->watchdog ? "the guest's watchdog ended it"
                                     : reason_is(evidence, "guest-reset")
                                             ? "the guest rebooted, and is not to"
                                             : "the guest shut itself down");
        } else if (reason_is(evidence, "host-signal") || reason_is(evidence, "host-qmp") ||
                   reason_is(evidence, "host-ui")) {
                /* By the hand of an administrator, or of a machine that shuts down: as wanted as a stop of
                 * ours, and of the same stages. */
                end->by = END_BY_HOST;
                end->stage = reason_is(evidence, "host-signal") ? STOP_SIGTERM : STOP_QUIT;
                reason = text_format("somebody else on the host told QEMU to end (%s)",
                                     evidence->shutdown_reason);
        } else {
                end->by = END_BY_CRASH;
                reason = describe_process(evidence);
        }
        if (!reason)
                return -ENOMEM;
        free(end->reason);
        end->reason = reason;
        return 0;
}
