/* Progress: the steps of a VM's start, with the time that each took. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vm_step {
        VM_STEP_NETWORK, /* its networks are there */
        VM_STEP_FORWARDS, /* the ports of the host are bound */
        VM_STEP_QEMU, /* its disks are open and its processors run */
        VM_STEP_FIRMWARE, /* the firmware wrote to the console */
        VM_STEP_KERNEL, /* what it booted did */
        VM_STEP_ADDRESS, /* the guest answers at its address */
        VM_STEP_SSH, /* its ssh server greets */
        VM_STEP_BOOTED, /* its agent is there, or it had the time to boot */
        VM_STEP_COUNT,
};

struct vm_progress {
        bool shown; /* on standard error, each step as it is reached */
        uint64_t begun, last; /* loop_now */
        int64_t reached_ms[VM_STEP_COUNT]; /* since it began; -1: not yet */
};

void vm_progress_begin(struct vm_progress *progress, bool shown);
/* The first time counts. */
void vm_progress_reach(struct vm_progress *progress, enum vm_step step);
bool vm_progress_has(const struct vm_progress *progress, enum vm_step step);
/* {"network": 112, ...} in milliseconds, those that were reached; NULL when memory is short. */
json_t *vm_progress_describe(const struct vm_progress *progress);

/* What the beginning of a console's output shows. Of a guest that is quiet until its login prompt the
 * firmware is not to be told from its kernel. */
void vm_progress_look_at_console(struct vm_progress *progress, const char *text, size_t size);
