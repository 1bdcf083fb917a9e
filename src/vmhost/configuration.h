/* Configuration: what a VM is to be, from its config.json. The format is in berth-vm(5). */
#pragma once

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/error.h"

#define CONFIGURATION_FILE_MAX (256 * 1024) /* bytes */
#define CONFIGURATION_NETWORKS_MAX 8
#define CONFIGURATION_FORWARDS_MAX 64
#define CONFIGURATION_SHARES_MAX 16
#define CONFIGURATION_KEYS_MAX 64
#define CONFIGURATION_EXTRA_MAX 256
#define CONFIGURATION_QUEUES_MAX 8

enum configuration_machine { MACHINE_Q35, MACHINE_MICROVM };
enum configuration_disk_format { DISK_QCOW2, DISK_RAW };
enum configuration_accelerator { ACCELERATOR_AUTO, ACCELERATOR_KVM, ACCELERATOR_TCG };
enum configuration_restart { RESTART_NO, RESTART_ON_FAILURE, RESTART_ALWAYS };
enum configuration_share_type { SHARE_9P, SHARE_VIRTIOFS };

struct configuration_network {
        char *network;
        char *id; /* NULL: the VM's name is the identity */
        char *mac; /* NULL: the network chooses */
        char *address; /* NULL: the network chooses */
        unsigned queues; /* 1 to CONFIGURATION_QUEUES_MAX */
        bool isolated;
};

struct configuration_forward {
        bool udp;
        bool ipv6; /* of the address listened on */
        struct in6_addr address; /* its first 4 bytes, in network order, where not ipv6 */
        uint16_t host_port, guest_port;
};

struct configuration_share {
        char *path;
        char *tag;
        bool read_only;
        enum configuration_share_type type;
};

/* Paths are absolute: the file may give them relative to its own directory. Strings are NULL where the file
 * has none and there is no default. */
struct configuration {
        _Atomic unsigned further; /* references beside the first */
        unsigned memory_mib, cpus;
        enum configuration_machine machine;
        char *image; /* the read-only base of the disk, for those who make the overlay */
        char *disk; /* NULL: none, then there is a kernel */
        enum configuration_disk_format disk_format;
        unsigned disk_size_gib; /* 0: as the image says */
        char *kernel, *initrd, *command_line;
        char *firmware; /* NULL: chosen by how the VM boots */

        struct configuration_network *networks;
        size_t n_networks;
        struct configuration_forward *forwards;
        size_t n_forwards;
        bool ssh; /* a port of the host leads to the VM's port 22 */
        uint16_t ssh_port; /* 0: any that is free */

        char *hostname; /* NULL: the VM's name is no DNS label, and the file says nothing */
        char *ssh_user; /* NULL: the image's own */
        char **ssh_keys;
        size_t n_ssh_keys;
        char *user_data; /* the text itself, */
        char *user_data_file; /* or where it is; at most one of the two */

        struct configuration_share *shares;
        size_t n_shares;

        enum configuration_restart restart;
        unsigned stop_timeout_seconds;
        bool confine;
        unsigned memory_limit_mib, cpu_limit_percent; /* of QEMU as a whole; 0: none */
        enum configuration_accelerator accelerator;
        unsigned console_log_mib; /* at most 64: so much is copied in one go, while the loop waits */
        char **extra_arguments;
        size_t n_extra_arguments;
};

/*
 * Reads a VM's file. `name` is the VM's, the default of the host name. A mistake in the file is -EINVAL with
 * a text "PATH:LINE: reason"; a file that cannot be read is another negative errno. Whether the files that it
 * names exist is not looked at.
 */
int configuration_load(struct configuration **ret, const char *path, const char *name, struct error *error);
/* The same of a text; relative paths start at the directory of `path`, which is otherwise for messages. */
int configuration_parse(struct configuration **ret, const char *path, const char *name, const char *text,
                        size_t size, struct error *error);
/* A further reference, for a thread that may live longer than its owner: a configuration is not changed. */
struct configuration *configuration_ref(const struct configuration *configuration);
/* Gives a reference back; the last one frees. NULL is fine. Returns NULL. */
struct configuration *configuration_free(struct configuration *configuration);
void configuration_freep(struct configuration **configuration);

/* All of it with its defaults, in the file's own format; a new reference, or NULL when memory is short. */
json_t *configuration_describe(const struct configuration *configuration);
