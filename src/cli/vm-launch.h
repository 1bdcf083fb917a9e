/* Launch: starting a VM's vmhost. */
#pragma once

#include "cli/program.h"
#include "cli/session.h"
#include "cli/vm-directory.h"

/*
 * Starts vmhost for a VM: the one of BERTH_VMHOST, else beside this program, in a build tree, where it was
 * installed, in PATH. It detaches itself; the process here ends when the VM is on its way, or with the reason
 * on its standard error. A QEMU that runs without a vmhost is taken over by it. 0 or -errno.
 */
int vm_launch(struct session *session, const struct vm *vm, struct program *ret);
/* Waits for that process. 0, or -errno with the reason. */
int vm_launch_finish(struct session *session, const struct vm *vm, struct program *program);

/* Both, where the VM runs without a vmhost; then it has one. Otherwise nothing. 0 or -errno. */
int vm_adopt(struct session *session, const struct vm *vm);
