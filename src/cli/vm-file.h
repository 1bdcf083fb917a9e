/* File: a VM's config.json, see berth-vm(5). */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "cli/vm-directory.h"

/* The file as it is: a new reference to an object. -EINVAL with "FILE:LINE: reason" where it is none; another
 * -errno. Its members are checked by vmhost: vm_configured, and when the VM starts. */
int vm_file_load(const struct vm *vm, json_t **ret, struct error *error);
/* "stop_timeout_seconds", with its default, of a VM whose file may be missing or wrong. */
unsigned vm_file_stop_timeout(const struct vm *vm);
