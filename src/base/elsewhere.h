/* Elsewhere: what a stranger can make last, done by a process of its own. */
#pragma once

#include <stddef.h>

/*
 * close(2) of what a stranger has a hand on may take as long as he likes: a TCP socket that is set to lingers, and a
 * Unix socket closes what is in its queue, another such among it. The end of a process does not wait for these
 * (inet_release and fuse_flush look for PF_EXITING). So a child takes a copy, the caller's close is not the last, and
 * the child ends.
 *
 * That is enough for sockets. A file that is none may wait at each close, the last or not (a FUSE file's flush), so a
 * stranger's are never let in: see wire/stranger.h.
 */

/*
 * A child that nobody has to wait for: 0 in the child, 1 in the caller, or -errno. Of the caller's file descriptors it
 * has these alone (those that are not -1): where a lock or a listening socket was among the others, nobody would get it
 * from a caller that was killed, for as long as the child is there.
 */
int elsewhere_fork(const int *kept, size_t n);

/*
 * Closes a socket when fd is >= 0 and keeps errno. Returns -1, for `fd = elsewhere_close(fd)`. A Unix socket whose
 * queue is empty and whose peer is gone, or that is shut down, costs no process.
 */
int elsewhere_close(int fd);
/* All of them, with at most one process, and leaves -1 in their places. */
void elsewhere_close_all(int *fds, size_t n);
void elsewhere_closep(int *fd);
#define _cleanup_elsewhere_ __attribute__((cleanup(elsewhere_closep)))
