/* Rights: file descriptors that go along with the bytes of a Unix socket (SCM_RIGHTS, unix(7)). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/* One sendmsg(2), which borrows at most WIRE_FDS_MAX: the number of bytes taken, 0 when the socket is full,
 * or -errno. */
ssize_t rights_send(int socket, struct iovec *vectors, size_t n_vectors, const int *fds, size_t n_fds);

/*
 * One recvmsg(2): the number of bytes, 0 at the end, or -errno (-EAGAIN: nothing is there); then nothing is
 * returned. *ret_n_fds descriptors, at most fds_max, are the caller's; *ret_refused: more came than these, or
 * than this process may open. `foreign`: those beyond are a stranger's, and closed as such. What comes from a
 * stranger himself is for stranger_receive.
 */
ssize_t rights_receive(int socket, char *data, size_t size, int *ret_fds, size_t fds_max, size_t *ret_n_fds,
                       bool *ret_refused, bool foreign);

/* Closes them, a stranger's by base/elsewhere.h, and leaves -1 in their places. */
void rights_close(int *fds, size_t n, bool foreign);
