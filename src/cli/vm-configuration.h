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

/* Options of all commands that make a VM, as rows of an option table. */
#define VM_CONFIGURATION_OPTIONS                                                                             \
        { "image", "FILE", "The disk to start from. It is only read; the VM's own disk\nis a layer over it." },     \
                { "image-format", "FORMAT", "raw or qcow2, where the image does not tell for sure." },              \
                { "disk-size", "SIZE", "The disk's size, such as 20G; without an image, of an empty\none." },      \
                { "memory", "SIZE", "Such as 512M or 2G; 1G without it." },                                         \
                { "cpus", "N", "Processors; 2 without it." },                                                       \
                { "network", "NETWORK",                                                                             \
                  "Attach to this network, may be given again; `shared` without\nit. Behind the name, separated by "     \
                  "commas: id=, mac=,\naddress=, queues=, isolated as for `berth run`." },                              \
                { "no-network", NULL, "Attach to none." },                                                          \
                { "ssh-key", "FILE", "A public key to let in, or a file of them; may be given\nagain." },          \
                { "ssh-user", "NAME", "Whom `berth vm ssh` becomes." },                                             \
                { "ssh-port", "PORT", "The host's port that leads to the VM's ssh; a free one\nwithout it." },     \
                { "no-ssh", NULL, "No port for ssh." },                                                             \
                { "hostname", "NAME", "The VM's name is it without this." },                                        \
                { "user-data", "FILE", "For cloud-init: a #cloud-config or a script." },                            \
                { "kernel", "FILE", "Boot this kernel directly, without firmware's search." },                      \
                { "initrd", "FILE", "With --kernel." },                                                             \
                { "command-line", "WORDS", "With --kernel." },                                                      \
                { "machine", "TYPE", "q35 or microvm." },                                                           \
                { "firmware", "FILE", "In place of the one that is chosen." },                                      \
                { "accelerator", "NAME", "kvm, tcg or auto." },                                                     \
                { "forward", "PORTS",                                                                               \
                  "[udp:][ADDRESS:]PORT:GUEST-PORT: a port of the host leads to\none of the VM; may be given again. "   \
                  "127.0.0.1 without an\naddress." },                                                                   \
                { "share", "FOLDER",                                                                                \
                  "Show a folder to the VM, as FOLDER[,tag=TAG][,read-only]\n[,type=virtiofs]; may be given again." }, \
                { "restart", "POLICY", "no, on-failure or always." },                                               \
                { "stop-timeout", "SECONDS", "How long a stop may take; 30 without it." },                          \
        {                                                                                                           \
                "no-confine", NULL, "Let QEMU do what its user may do."                                             \
        }

/* Reads the options (those of the rows above; others are passed over) and checks them, alone and together. 0 or
 * -errno; session->misused where the caller made the mistake. */
int vm_configuration_read(struct vm_configuration *ret, struct session *session,
                          const struct arguments *arguments);
void vm_configuration_deinit(struct vm_configuration *configuration);
