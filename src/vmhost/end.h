/* End: how a VM's run ended, as it is kept and told. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmhost/stop.h"

enum end_by {
        END_BY_GUEST, /* it shut itself down */
        END_BY_HOST, /* a stop, or a start that could not be finished */
        END_BY_CRASH, /* QEMU, or the guest's kernel */
        END_BY_OOM, /* the host's kernel, short of memory */
        END_BY_UNKNOWN, /* it ended while nobody looked */
};

/* Of a process whose status nobody told us: it was no child of ours. */
#define END_STATUS_UNKNOWN (-1)

struct end {
        int64_t at_ms; /* wall clock, since 1970 */
        enum end_by by;
        enum stop_stage stage; /* of the stop that ended it, ours or that of somebody else on the host */
        int exit_code; /* QEMU's, or END_STATUS_UNKNOWN, as of one that a signal ended */
        int signal; /* that ended QEMU, 0 for none, or END_STATUS_UNKNOWN */
        bool panicked; /* the guest's kernel said so */
        char *reason; /* a text for people, owned */
        json_t *console_tail; /* an array of lines, owned, or NULL */
        uint64_t uptime_ms; /* of the run */
};

#define END_INIT                                                                                             \
        ((struct end){ .by = END_BY_UNKNOWN, .exit_code = END_STATUS_UNKNOWN, .signal = END_STATUS_UNKNOWN })

void end_deinit(struct end *end);
/* An end that nobody has to be told to be sorry for: by the guest or a stop. */
bool end_is_clean(const struct end *end);
const char *end_by_name(enum end_by by);
/* {"at","by","stage","exit_code","signal","panicked","reason","console_tail","uptime_ms"}; what is not known
 * is null. NULL when memory is short. */
json_t *end_to_json(const struct end *end);

/* What is known of the end of QEMU's process; end_judge makes of it who ended it, and the text. */
struct end_evidence {
        bool child; /* exit_code and signal are known */
        int exit_code, signal;
        enum stop_stage stage; /* how far a stop of ours had come */
        const char *shutdown_reason; /* of QMP's SHUTDOWN event ("guest-shutdown"...), or NULL */
        bool panicked, watchdog;
        bool out_of_memory; /* the kernel says that it killed it */
};
/* Fills by, stage, exit_code, signal, panicked and reason. 0 or -ENOMEM. */
int end_judge(struct end *end, const struct end_evidence *evidence);
