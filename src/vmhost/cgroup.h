/* Cgroup: where the kernel holds a process to its share, in both versions of control groups (cgroups(7)). */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The directory of the cgroup in which a controller, such as "memory", governs a process: that of version 1
 * where the controller is there, else, and for NULL, that of version 2. Seen from where /sys/fs/cgroup is the
 * one that the process knows. 0; -ENOENT where there is none; or another -errno.
 */
int cgroup_find(pid_t pid, const char *controller, char *ret, size_t size);

/* The first number in a file of a cgroup's directory, UINT64_MAX for "max" and for what is below 0. 0 or
 * -errno. */
int cgroup_read_number(const char *directory, const char *file, uint64_t *ret);
