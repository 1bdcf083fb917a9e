/* Outbox: lines on their way into a socket. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"

/*
 * A line is sent at once as far as the socket takes it, by a call of its own, as the framing wants it for
 * those with descriptors (wire.h). What is left waits here, with duplicates of the descriptors while they are
 * still to go, up to WIRE_QUEUE_MAX bytes for a peer that does not read.
 */
struct outbox {
        struct list lines; /* what waits, first to last */
        size_t cost; /* of all that waits, in bytes */
        bool foreign; /* the descriptors that wait are not to be closed here: base/elsewhere.h */
};

void outbox_init(struct outbox *outbox);
/* Drops what waits. */
void outbox_deinit(struct outbox *outbox);

bool outbox_is_empty(const struct outbox *outbox);
/* Sends what the socket takes: 0, also where some of it must wait, or -errno; then the socket is of no use
 * any more. */
int outbox_flush(struct outbox *outbox, int socket);
/* The same with one more line, behind what waits: a text without its newline; the fds are borrowed. -ENOBUFS:
 * too much waits. */
int outbox_send(struct outbox *outbox, int socket, const char *text, const int *fds, size_t n_fds);
