/* Host: what the machine and its QEMU offer a VM. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct host {
        char *qemu; /* the program */
        char *data; /* QEMU's directory of firmware; NULL: not found */
        bool qboot; /* it has qboot.rom */
        bool seccomp; /* QEMU was built with it */
        bool io_uring; /* the kernel lets us have one, and QEMU was built with it */
        bool vhost; /* /dev/vhost-net opens */
        char *virtiofsd; /* the program; NULL: not installed */
};

/* -ENOENT without QEMU. Looks at files only and takes well below a millisecond; it runs none of these
 * programs. */
int host_look(struct host *ret, struct error *error);
void host_deinit(struct host *host);

/* Whether KVM works here: the processor offers it and /dev/kvm opens. *ret_why: where not, what is missing.
 * (A /dev/kvm without the processor's help is there on some nested hosts, and hangs guests.) */
bool host_has_kvm(const char **ret_why);
