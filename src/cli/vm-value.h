/* Values: those of the options that describe a VM, checked and brought into the form of its file. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"
#include "cli/words.h"

/* All return 0; -EINVAL with a text that says what is wrong; or another -errno. Texts do not name the option.
 */

/* "2048", "2048M", "2G": in MiB, within limits. */
int vm_value_memory(const char *value, uint64_t *ret_mib, struct error *error);
/* "20", "20G", "1T": in GiB. */
int vm_value_disk_size(const char *value, uint64_t *ret_gib, struct error *error);
/* [udp:|tcp:][ADDRESS:]PORT:GUEST-PORT, IPv6 addresses in brackets; without an address it is 127.0.0.1. *ret
 * is a new string such as "127.0.0.1:2222:22" or "udp:[::1]:53:53". */
int vm_value_forward(const char *value, char **ret, struct error *error);
/* PATH[,tag=TAG][,type=9p|virtiofs][,read-only]: an object. */
int vm_value_share(const char *value, json_t **ret, struct error *error);
/* NETWORK as `berth run` takes it, less what the VM's name decides: an object. */
int vm_value_network(const char *value, json_t **ret, struct error *error);
/* A public key, or a file of them: adds them to an array; and where a private key is beside the file, its
 * absolute path to identities. */
int vm_value_ssh_key(const char *value, json_t *keys, struct words *identities, struct error *error);
/* An existing file: its absolute path, without links. */
int vm_value_file(const char *value, char **ret, struct error *error);
