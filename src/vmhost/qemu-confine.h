/* QEMU's confinement: which files the QEMU of a VM may touch. */
#pragma once

#include "base/error.h"
#include "vmhost/configuration.h"
#include "vmhost/host.h"

/*
 * A Landlock ruleset (confine.h): the disk, the console's log and the shares to write; the seed, the images
 * below the disk, kernel, initrd and firmware to read; QEMU itself with its libraries and data. Of the VM's
 * directory these files alone, which must be there: a QEMU that a guest took over must not get at the
 * configuration, which the next start believes. For the same reason the disk's own word for what it stands on
 * counts only where it is the configuration's "image": -EINVAL otherwise.
 *
 * Its file descriptor, CLOEXEC, or -EOPNOTSUPP without Landlock, or another -errno.
 */
int qemu_confine(const struct configuration *configuration, const struct host *host, const char *directory,
                 struct error *error);
