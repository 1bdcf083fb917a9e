/* Options that several commands on VMs take. */
#pragma once

#include <stdint.h>

#include "cli/command.h"

#define VM_SECONDS_MAX 86400

/* The value of an option in seconds, 1 to VM_SECONDS_MAX; untouched where it was not given. 0 or -EINVAL,
 * said. */
int vm_option_seconds(struct session *session, const struct arguments *arguments, const char *name,
                      uint64_t *ret);
