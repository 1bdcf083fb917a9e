/* A peer: the other end of a connection of libberth, played by the test. */
#pragma once

#include <stddef.h>

/*
 * The reply to a blocking call is written before the call: the library reads nothing before it has sent its
 * request. So one thread can play both sides. It reads all there is, though: one reply for each call that is
 * under way, no more.
 */
struct peer {
        int fd; /* non-blocking */
};

/* A connected pair: the peer, and the other end as *ret_fd. */
void peer_init(struct peer *peer, int *ret_fd);
void peer_close(struct peer *peer);

/* Sends bytes in one call, with these file descriptors (borrowed). */
void peer_send(struct peer *peer, const char *bytes, const int *fds, size_t n_fds);
/* Checks that exactly these bytes have arrived. */
void peer_expect(struct peer *peer, const char *bytes);
/* Checks that the other side has closed. */
void peer_expect_end(struct peer *peer);
