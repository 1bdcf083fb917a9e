/* Restart: when a VM that ended is started again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmhost/end.h"

enum restart_policy { RESTART_POLICY_NO, RESTART_POLICY_ON_FAILURE, RESTART_POLICY_ALWAYS };

/*
 * The pause before a restart doubles from 1 s to 60 s with each run that ended within a minute of its
 * beginning, and is 1 s again after a run that lasted.
 */
struct restart {
        enum restart_policy policy;
        unsigned quick_ends; /* in a row */
};

/* Whether, and after how many milliseconds. A VM that is wanted to be stopped is never started again. */
bool restart_decide(struct restart *restart, const struct end *end, bool wanted_running,
                    uint64_t *ret_pause_ms);
const char *restart_policy_name(enum restart_policy policy);
