/* Start: a VM on its way, and how far it has come. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "cli/session.h"
#include "cli/vm-directory.h"

enum vm_goal {
        VM_GOAL_STARTED, /* QEMU runs the guest */
        VM_GOAL_ADDRESS, /* the guest has its address */
        VM_GOAL_SSH, /* it can be logged in to */
        VM_GOAL_RUNNING, /* it has booted, for all that vmhost(8) can tell */
};

struct vm_start_order {
        enum vm_goal goal;
        bool or_started; /* where the goal cannot be seen, QEMU's start is enough */
        unsigned timeout_s; /* to reach it */
        bool shown; /* tell of each step on standard error */
        int stop_fd; /* borrowed: give up when it becomes readable; -1 for none */
};

#define VM_START_TIMEOUT_S 180

/* "address", "ssh", "running" or "started": 0 or -EINVAL. */
int vm_goal_parse(const char *word, enum vm_goal *ret);

/*
 * Starts a VM, or takes over one that runs without its vmhost, and waits for the goal; for one that runs
 * already it only waits, and one that is being stopped is started after that. 1 when it was started (or taken
 * over), 0 when it ran already, or -errno; a VM that runs and does not reach the goal in time is -ETIMEDOUT
 * and goes on. So does one where stop_fd ends the wait, which is -EINTR as soon as a vmhost is there to be
 * asked for a stop, or nothing runs. *ret_steps: an object of the steps' times, a new reference.
 */
int vm_start(struct session *session, const struct vm *vm, const struct vm_start_order *order,
             json_t **ret_steps);
