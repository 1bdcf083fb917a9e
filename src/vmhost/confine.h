/* Confine: shuts a program in before it is executed, without privileges. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum confine_access {
        CONFINE_READ, /* a file, or a directory with all below it */
        CONFINE_EXECUTE, /* the same, and run what is there */
        CONFINE_WRITE, /* all that one can do to files: make, change, rename and remove them too */
        CONFINE_DEVICE, /* a device: read, write, ioctl */
};

struct confine_rule {
        const char *path;
        enum confine_access access;
        bool optional; /* a path that is not there is passed over */
};

/* The version of Landlock that the kernel offers, 0 for none (not built in, or switched off at boot). */
int confine_abi(void);

/*
 * A ruleset that allows what the rules name and nothing else of the file system; where the kernel can, no TCP
 * either, and no signal and no abstract socket to anybody outside (Landlock 4 and 6). Its file descriptor,
 * CLOEXEC; -EOPNOTSUPP without Landlock; or another -errno.
 */
int confine_prepare(const struct confine_rule *rules, size_t n_rules, struct error *error);

/*
 * For a child between fork and exec: gives up every way to more privileges (set-user-ID programs among them),
 * of root's capabilities all but those about the owners of files, and enters the ruleset; -1 for none. 0 or
 * -errno.
 */
int confine_enter(int ruleset);
