/* Phase: where a VM stands in its life. */
#pragma once

#include <stdbool.h>

/*
 *   PREPARING ──▶ BOOTING ──▶ RUNNING ◀──▶ PAUSED, IO_ERROR
 *       │            ▲  │        │             │
 *       │            │  ▼        ▼             ▼
 *       │            │  any of the live ones ──▶ STOPPING ──▶ STOPPED
 *       │            └── RUNNING, PAUSED, IO_ERROR (a reset)
 *       └──▶ STOPPING, STOPPED, FAILED        any of the live ones ──▶ STOPPED, FAILED
 *
 *   STOPPED, FAILED ──▶ PREPARING (the restart policy)
 *
 * A VM that is adopted begins in the phase that it was left in. STOPPED is an end that somebody wanted, the
 * guest or the host; FAILED is every other.
 */
enum phase {
        PHASE_PREPARING, /* networks, seed, QEMU's start */
        PHASE_BOOTING, /* the processors run; the guest has not told of itself */
        PHASE_RUNNING,
        PHASE_PAUSED, /* by a command, or a watchdog */
        PHASE_IO_ERROR, /* paused by QEMU: the disk refused a write, mostly for want of room */
        PHASE_STOPPING,
        PHASE_STOPPED,
        PHASE_FAILED,
};

#define PHASE_COUNT 8

const char *phase_name(enum phase phase);
/* -EINVAL for a word that is none. */
int phase_parse(const char *name, enum phase *ret);
/* Whether QEMU's processors may be expected to exist: BOOTING to STOPPING. */
bool phase_is_live(enum phase phase);
/* Whether the chart above has that arrow; staying is none. */
bool phase_may_follow(enum phase from, enum phase to);
/* The control protocol's state: "running" for all that live, the one word under which its clients leave a VM
 * alone; "stopped" and "error" for the ends; NULL while preparing, when the answer is an error. */
const char *phase_state(enum phase phase);
