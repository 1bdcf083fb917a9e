#include "vmhost/phase.h"

#include <errno.h>
#include <stddef.h>

#include "base/text.h"

static const char *const names[PHASE_COUNT] = {
        [PHASE_PREPARING] = "preparing", [PHASE_BOOTING] = "booting",   [PHASE_RUNNING] = "running",
        [PHASE_PAUSED] = "paused",       [PHASE_IO_ERROR] = "io-error", [PHASE_STOPPING] = "stopping",
        [PHASE_STOPPED] = "stopped",     [PHASE_FAILED] = "failed",
};

#define BIT(phase) (1U << (phase))
#define ENDS (BIT(PHASE_STOPPING) | BIT(PHASE_STOPPED) | BIT(PHASE_FAILED))

static const unsigned followers[PHASE_COUNT] = {
        [PHASE_PREPARING] = BIT(PHASE_BOOTING) | ENDS,
        [PHASE_BOOTING] = BIT(PHASE_RUNNING) | BIT(PHASE_PAUSED) | BIT(PHASE_IO_ERROR) | ENDS,
        [PHASE_RUNNING] = BIT(PHASE_BOOTING) | BIT(PHASE_PAUSED) | BIT(PHASE_IO_ERROR) | ENDS,
        [PHASE_PAUSED] = BIT(PHASE_BOOTING) | BIT(PHASE_RUNNING) | BIT(PHASE_IO_ERROR) | ENDS,
        [PHASE_IO_ERROR] = BIT(PHASE_BOOTING) | BIT(PHASE_RUNNING) | BIT(PHASE_PAUSED) | ENDS,
        [PHASE_STOPPING] = BIT(PHASE_STOPPED) | BIT(PHASE_FAILED),
        [PHASE_STOPPED] = BIT(PHASE_PREPARING),
        [PHASE_FAILED] = BIT(PHASE_PREPARING),
};

const char *phase_name(enum phase phase) {
        return names[phase];
}

int phase_parse(const char *name, enum phase *ret) {
        for (unsigned i = 0; i < PHASE_COUNT; i++)
                if (text_equal(name, names[i])) {
                        *ret = (enum phase)i;
                        return 0;
                }
        return -EINVAL;
}

bool phase_is_live(enum phase phase) {
        return phase >= PHASE_BOOTING && phase <= PHASE_STOPPING;
}

bool phase_may_follow(enum phase from, enum phase to) {
        return followers[from] & BIT(to);
}

const char *phase_state(enum phase phase) {
        if (phase_is_live(phase))
                return "running";
        if (phase == PHASE_STOPPED)
                return "stopped";
        return phase == PHASE_FAILED ? "error" : NULL;
}
