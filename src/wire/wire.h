/* The wire: one JSON object per line, with file descriptors, over a Unix stream socket. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/*
 * The framing of berth-protocol(7). The kernel ends a recvmsg(2) behind the buffer that carried file descriptors
 * (unix_stream_read_generic), and a sender puts nothing behind such a line in the same call: so descriptors belong
 * to the last line that begins in what one call returned. Descriptors that arrive in the middle of a line are a
 * violation.
 */
#define WIRE_LINE_MAX 65536 /* bytes, with the newline */
#define WIRE_FDS_MAX 16
#define WIRE_QUEUE_MAX (1024 * 1024) /* bytes that may wait for a peer that does not read */

struct wire_message {
        json_t *body; /* an object, owned */
        int fds[WIRE_FDS_MAX]; /* owned; -1 where taken */
        size_t n_fds;
        bool lost; /* fds came with it that could not be taken: n_fds is 0 (WIRE_CARRIER only) */
        bool foreign; /* the fds are not to be closed here: base/elsewhere.h */
};

#define WIRE_MESSAGE_INIT ((struct wire_message){ .n_fds = 0 })

/* Drops the body and closes the fds that were not taken. Fine on an empty message, and twice. */
void wire_message_deinit(struct wire_message *message);
/* Takes fd number i (leaving -1), or -1 when there is none. */
int wire_message_take_fd(struct wire_message *message, size_t i);

enum wire_result {
        WIRE_AGAIN = 0, /* no whole line yet */
        WIRE_MESSAGE = 1, /* *ret is filled */
        WIRE_MALFORMED = 2, /* a whole line that is no JSON object, or has too many fds: error says why; go on */
        WIRE_TOO_LONG = 3, /* a line beyond the limit, or fds out of place: error says why; answer, then close */
        WIRE_END = 4, /* the peer closed; half a line may be lost */
};

struct wire;

/* The socket is consumed (on failure too) and made non-blocking. */
int wire_new(struct wire **ret, int consume_fd);
struct wire *wire_free(struct wire *wire);
void wire_freep(struct wire **wire);
int wire_fd(const struct wire *wire);

/* What is to be expected of the descriptors that come, and of what waits in the socket when it is closed. */
enum wire_care {
        WIRE_OWN = 0, /* our own programs', with nobody's before them */
        /* The peer is one of ours, and passes on sockets that strangers gave it. What is said is heard also where its
         * descriptors cannot be had: it is no fault of the peer's. */
        WIRE_CARRIER,
        WIRE_STRANGER, /* the peer may send anything: only sockets of the internet families are let in */
};

/* Before anything is received. At most `fds_max` descriptors are taken with a line, which is WIRE_FDS_MAX of a new wire:
 * a stranger's wait at our expense. All but WIRE_OWN forks, and is for the programs alone. */
void wire_set_care(struct wire *wire, enum wire_care care, size_t fds_max);

/*
 * The next message: an enum wire_result, or a negative errno for a broken socket. Reads the socket only when no
 * whole line is buffered, and then once; a caller under a level-triggered loop calls it until it returns WIRE_AGAIN,
 * or bounds its calls and uses wire_has_input to come back.
 */
int wire_receive(struct wire *wire, struct wire_message *ret, struct error *error);
/* Whether a whole line is buffered already: poll would not tell. */
bool wire_has_input(const struct wire *wire);

/*
 * Queues a message and sends what the socket takes at once. The body is borrowed; the fds are borrowed too (they are
 * duplicated only when they must wait). 0; -EMSGSIZE (body beyond the line limit), -ENOBUFS (the peer does not read:
 * drop it), -EPIPE and others: the connection is of no use any more.
 */
int wire_send(struct wire *wire, json_t *body, const int *fds, size_t n_fds);
/* Whether output waits: then wait for EPOLLOUT and call wire_flush. 0 or -errno as above. */
bool wire_has_output(const struct wire *wire);
int wire_flush(struct wire *wire);
