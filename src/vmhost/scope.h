/* Scope: a cgroup of QEMU's own, made by systemd, that holds it to the limits of its configuration. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "vmhost/configuration.h"

#define SCOPE_NAME_SIZE 288 /* bytes */

/*
 * An ordinary user may make no cgroup, and root must not behind systemd's back: it is asked over D-Bus, by
 * its own tool, for a transient scope unit around the process (org.freedesktop.systemd1(5),
 * StartTransientUnit). Root asks the system's manager, everyone else their own. The scope ends with the last
 * process in it.
 *
 * A limit that is silently not applied is worse than none: the kernel's own files are read, and a manager to
 * which a controller was not delegated is an error.
 */
bool scope_is_wanted(const struct configuration *configuration);

/*
 * Moves a process that has yet to use memory. Waits, at most some seconds.
 * -ENOENT without systemd, -ETIMEDOUT, -EOPNOTSUPP where the limits are not applied, each with a text.
 */
int scope_enter(pid_t pid, const struct configuration *configuration, const char *name, struct error *error);

/* The scope that a process is in: "berth-vm-NAME-PID.scope", unlike that of an earlier run which systemd has
 * yet to forget, and of a VM of the same name elsewhere. -ENOENT: in none of ours. */
int scope_find(pid_t pid, char ret[static SCOPE_NAME_SIZE]);
