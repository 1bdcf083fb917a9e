/* Creation: making a VM's directory, and taking it away. */
#pragma once

#include "base/error.h"
#include "cli/vm-configuration.h"
#include "cli/vm-directory.h"

/* Makes the directory with all in it, whole or not at all. -EEXIST with a text where there is such a VM
 * already, -EBADMSG where vmhost would not take it so; 0 or another -errno. */
int vm_create(const struct vm *vm, const struct vm_configuration *configuration, struct error *error);

/*
 * Removes the directory with all in it, or a link in its place that leads nowhere. Nothing is touched where a
 * vmhost holds it or the VM runs without one (-EALREADY), or where it is a link to a directory or something is
 * mounted in it (-EXDEV). While it is removed no vmhost can start there. 0 or another -errno.
 */
int vm_remove(const struct vm *vm, struct error *error);
