/* Seed: what a VM is told at its first boot, as cloud-init's NoCloud and as systemd credentials. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "vmhost/configuration.h"

/* Whether the VM gets a seed: where it has a disk, or user data. */
bool seed_is_wanted(const struct configuration *configuration);

/*
 * Writes the NoCloud image (volume CIDATA with meta-data, user-data and, where there are interfaces,
 * network-config) to `path`, 0600. `macs` are those of the interfaces.
 */
int seed_write(const struct configuration *configuration, const char *name, const char *const *macs,
               size_t n_macs, const char *path, struct error *error);

/* A systemd credential (systemd.system-credentials(7)); `value` has no NUL. */
struct seed_credential {
        const char *name;
        char *value; /* owned */
};
#define SEED_CREDENTIALS_MAX 2
/* Above it a value is left out, with a warning: SMBIOS has room for 64 KiB in all. */
#define SEED_CREDENTIAL_VALUE_MAX 32768

/* The host name and root's ssh keys, as many of the two as there are; -ENOMEM. Values are to be freed. */
int seed_credentials(const struct configuration *configuration,
                     struct seed_credential ret[static SEED_CREDENTIALS_MAX], size_t *ret_n);
