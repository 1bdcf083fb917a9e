/* State: what a VM's state.json says, for when there is no vmhost to ask. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "cli/vm-directory.h"

/*
 * state.json as an object, or NULL in *ret where there is none yet. A run in it that is not there any more,
 * as after both processes were killed or the power failed, is an end that nobody saw: the state is told as
 * the next vmhost records it. 0 or -errno.
 */
int vm_state_load(const char *directory, json_t **ret, struct error *error);

/* Whether the QEMU that the state names lives, proven by pid, start time and boot id. */
bool vm_state_runs(const json_t *state);

enum vm_presence {
        VM_PRESENCE_NONE, /* nobody supervises it, and it does not run */
        VM_PRESENCE_ORPHAN, /* its vmhost was killed and it runs on */
        VM_PRESENCE_HOSTED, /* a vmhost listens, whether or not it answers */
};

/* Looks at the control socket and the state; asks nothing, so it does not wait either. */
enum vm_presence vm_presence(const char *directory);

/* Waits until no vmhost holds the VM any more, at most a few seconds. 0 or -ETIMEDOUT, with a text. */
int vm_wait_gone(const struct vm *vm, struct error *error);
/* The same until a time of CLOCK_MONOTONIC in microseconds. 0, -ETIMEDOUT or -ENOMEM. */
int vm_wait_gone_until(const struct vm *vm, uint64_t deadline);
