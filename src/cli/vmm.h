/* VMMs: the arguments with which those that are known take an interface. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "cli/words.h"

struct vmm;

/* By the program's base name; NULL for one that is not known. */
const struct vmm *vmm_find(const char *program);

/*
 * Adds the arguments for n networks to a VMM's command line, with placeholders for what is known only later;
 * queues is how many each network is to have. With vhost the kernel moves the packets where the VMM can use
 * it. 0, -ENOMEM, or -EINVAL with a text: the VMM cannot do what was asked.
 */
int vmm_extend(const struct vmm *vmm, struct words *command, const unsigned *queues, size_t n_networks,
               bool vhost, struct error *error);
