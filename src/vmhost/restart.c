#include "vmhost/restart.h"

#define PAUSE_MIN 1000U /* milliseconds */
#define PAUSE_MAX 60000U
#define LASTED 60000U /* of a run that counts as one that worked */

bool restart_decide(struct restart *restart, const struct end *end, bool wanted_running,
                    uint64_t *ret_pause_ms) {
        if (!wanted_running || restart->policy == RESTART_POLICY_NO ||
            (restart->policy == RESTART_POLICY_ON_FAILURE && end_is_clean(end)))
                return false;
        if (end->uptime_ms >= LASTED)
                restart->quick_ends = 0;
        uint64_t pause = restart->quick_ends < 6 ? (uint64_t)PAUSE_MIN << restart->quick_ends : PAUSE_MAX;
        restart->quick_ends++;
        *ret_pause_ms = pause;
        return true;
}

const char *restart_policy_name(enum restart_policy policy) {
        switch (policy) {
        case RESTART_POLICY_ON_FAILURE:
                return "on-failure";
        case RESTART_POLICY_ALWAYS:
                return "always";
        default:
                return "no";
        }
}
