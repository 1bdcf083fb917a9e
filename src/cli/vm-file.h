/* File: a VM's config.json, see berth-vm(5). */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "cli/vm-directory.h"

/* The file as it is: a new reference to an object. -EINVAL with "FILE:LINE: reason" where it is none; another
 * -errno. Its members are checked by vmhost, when the VM starts. */
int vm_file_load(const struct vm *vm, json_t **ret, struct error *error);
/* A new reference to the same with all defaults filled in, in the manual's order; NULL when memory is short.
 */
json_t *vm_file_complete(const struct vm *vm, const json_t *file);

/* "stop_timeout_seconds", with its default, of a VM whose file may be missing or wrong. */
unsigned vm_file_stop_timeout(const struct vm *vm);
