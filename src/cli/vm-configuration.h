/* VM configurations: what the options of `berth vm create` come to. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "cli/command.h"
#include "cli/vm-image.h"
#include "cli/words.h"

/* A VM as it was asked for: its file, and what create makes beside it. */
struct vm_configuration {
        json_t *file; /* the object of config.json, see berth-vm(5) */
        struct vm_image image; /* path NULL: none */
        uint64_t disk_size_gib; /* 0: as the image says; without an image: no disk */
        struct words identities; /* private keys of ssh that belong to the public ones */
};

/* The options of all commands that make a VM. */
#define VM_CONFIGURATION_N_OPTIONS 26
extern const struct option_spec vm_configuration_options[VM_CONFIGURATION_N_OPTIONS];

/* Reads those options (others are passed over) and checks them, alone and together. 0
 * or -errno; session->misused where the caller made the mistake. */
int vm_configuration_read(struct vm_configuration *ret, struct session *session,
                          const struct arguments *arguments);
void vm_configuration_deinit(struct vm_configuration *configuration);
