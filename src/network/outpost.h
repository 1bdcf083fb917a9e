/* Outpost: the part of a network that stays in the host's namespaces. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * In user mode a process that has entered its own user namespace can never come back. So before it does, it leaves a
 * child behind, which does two things on request: open a socket of the host's namespace, and start a program there.
 * The outpost ends, and ends what it started, when its socket is closed, thus when the network's process is gone
 * in whatever way. It holds no state of its own.
 */
struct outpost;

/* Forks; call before entering any namespace, while no loop exists. */
int outpost_new(struct outpost **ret, struct error *error);
struct outpost *outpost_free(struct outpost *outpost);

/* The process itself, to see it end (a new pidfd or -errno): without it the network is cut off from the host. */
int outpost_open_process(const struct outpost *outpost);

/* A socket of the host's namespace, non-blocking and CLOEXEC: the fd or -errno. */
int outpost_socket(struct outpost *outpost, int family, int type, int protocol);

/*
 * Starts argv (NULL-terminated, argv[0] a path; with `note` at most 4 KiB) with stdin from /dev/null, and stdout and
 * stderr on `log_fd` (borrowed). `fds` are inherited as file descriptors 3 and up. Before it runs it is written down at
 * `note` (leftover.h; NULL: nowhere). *ret_pid is the pid in the host's pid namespace. Returns a pidfd or -errno.
 */
int outpost_spawn(struct outpost *outpost, const char *note, const char *const *argv, int log_fd, const int *fds, size_t n_fds,
                  pid_t *ret_pid);
