/* Attachment: a VM's console on our own terminal. */
#pragma once

#include "base/error.h"
#include "cli/vm-directory.h"

enum vm_attach_result {
        VM_ATTACH_ENDED, /* nothing of the VM runs any more */
        VM_ATTACH_DETACHED, /* Ctrl-] was typed */
        VM_ATTACH_SIGNALLED, /* a signal asks us to end: *ret_signal */
};

/*
 * Shows the console on standard output, the last part of what was printed before first; where standard input
 * is a terminal it is made raw, and what is typed goes to the VM. Goes on over restarts of the VM and of its
 * vmhost, and tells of a vmhost that does not answer. The terminal is as it was on return. An enum
 * vm_attach_result or -errno.
 */
int vm_attach(const struct vm *vm, int *ret_signal, struct error *error);
