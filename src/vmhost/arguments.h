/* Arguments: QEMU's command line for a VM. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "vmhost/configuration.h"
#include "vmhost/host.h"
#include "vmhost/session.h"

/* With a share's tag behind it: the id of the chardev by which QEMU talks to the share's virtiofsd. */
#define ARGUMENTS_SHARE "share-"

/* What the command line is made of beside the configuration. All is borrowed; file descriptors are QEMU's. */
struct arguments_context {
        const char *name, *directory; /* of the VM */
        const struct host *host;
        bool kvm;
        bool disk_is_device; /* a block device, instead of a file */
        bool confined; /* with QEMU's own seccomp filter */
        bool seed; /* there is a QEMU_SEED in the directory */
        int qmp, console, agent; /* listening sockets */
        const struct session_interface *const *interfaces;
        size_t n_interfaces;
        const int *vhosts; /* of /dev/vhost-net, one per queue of each interface in turn; NULL: without */
        const int *shares; /* of virtiofs: a connected socket each, as configured; -1 for 9p */
};

/*
 * The command line, beginning with the program: a new array of new strings that ends with NULL. Decides by
 * its input alone. -ENOMEM.
 */
int arguments_compose(char ***ret, const struct configuration *configuration,
                      const struct arguments_context *context);
void arguments_free(char **arguments);
void arguments_freep(char ***arguments);
