/* Launch: starting a VM's vmhost. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "cli/program.h"
#include "cli/session.h"
#include "cli/vm-directory.h"

/*
 * Starts vmhost for a VM: the one of BERTH_VMHOST, else beside this program, in a build tree, where it was
 * installed, in PATH. It detaches itself; the process here ends when the VM is on its way, or with the reason
 * on its standard error. A QEMU that runs without a vmhost is taken over by it. 0 or -errno.
 */
int vm_launch(struct session *session, const struct vm *vm, struct program *ret);
/* Waits for that process. 0, or -errno with the reason; -EALREADY where the VM has a
 * vmhost, or still has one, -ESRCH where there was nothing to adopt. */
int vm_launch_finish(struct session *session, const struct vm *vm, struct program *program);

/* Gives a VM that runs without a vmhost a new one. Where it does not run, or ends meanwhile, nothing is
 * started. 0 or -errno. */
int vm_adopt(struct session *session, const struct vm *vm);
/* The same with a deadline of vm-clock.h of one's own, for tests. */
int vm_adopt_until(struct session *session, const struct vm *vm, uint64_t deadline);

/* What vmhost makes of a VM's file: a new reference to an object with all defaults. -EINVAL with "FILE:LINE:
 * reason" where it is wrong; another -errno. Asks no VM. */
int vm_configured(const struct vm *vm, json_t **ret, struct error *error);
/* Whether it takes a file, which is to become the VM's: 0, -EBADMSG
 * with the reason alone, or another -errno. */
int vm_check(const struct vm *vm, const char *path, struct error *error);
