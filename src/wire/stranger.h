/* Stranger: what a peer sends that may pass us any file descriptor. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * A descriptor is a burden from the moment that recvmsg(2) has made it ours: to be rid of one may take as long as its
 * maker likes (base/elsewhere.h), and the kernel closes in our place what we have no room for. So what carries
 * descriptors is read in a process of its own, which looks at them, gives us the sockets of the internet families if
 * there are as few as are wanted, and ends with the rest.
 */

/*
 * Reads once, at most `size` bytes. *ret_n_fds descriptors, at most fds_max, are the caller's and to be closed by
 * elsewhere_close; *ret_refused: others came, and then none is given. The number of bytes, 0 at the end, or -errno
 * (-EAGAIN: nothing is there).
 */
ssize_t stranger_receive(int socket, char *data, size_t size, int *ret_fds, size_t fds_max, size_t *ret_n_fds,
                         bool *ret_refused);
