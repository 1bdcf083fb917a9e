/* QMP: a connection to QEMU's monitor, held for life. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "loop/loop.h"

/*
 * QEMU's machine protocol (docs/interop/qmp-spec in QEMU): a greeting, qmp_capabilities, then commands with
 * ids and events in between. Every call ends in exactly one call of its reply function: with the answer, at
 * its deadline, or when the connection ends. Nothing here waits.
 *
 * A call that passed its deadline is forgotten; its late answer is read and dropped, and counts as a sign of
 * life.
 */
#define QMP_LINE_MAX (1024 * 1024) /* bytes */
#define QMP_CALLS_MAX 32 /* that wait for an answer */

enum qmp_handshake {
        QMP_GREETING, /* connected; QEMU has to speak first */
        QMP_NEGOTIATING, /* qmp_capabilities is sent */
        QMP_READY,
        QMP_CLOSED, /* for good */
};

struct qmp;

/* result: 0 with what the command returned; -EREMOTEIO with QEMU's error object {"class","desc"}; -ETIMEDOUT
 * or -ECONNRESET with NULL. `value` is borrowed. */
typedef void (*qmp_reply_fn)(struct qmp *qmp, int result, json_t *value, void *data);

struct qmp_handlers {
        void (*on_ready)(struct qmp *qmp, void *data);
        /* `details` is the event's "data", borrowed, or NULL. */
        void (*on_event)(struct qmp *qmp, const char *event, json_t *details, void *data);
        /* A whole message came, whatever it is: QEMU lives. */
        void (*on_life)(struct qmp *qmp, void *data);
        /* Once, after all pending calls were failed: the peer closed (-ECONNRESET), or does not speak QMP
         * (-EPROTO). Only freeing is left to do. */
        void (*on_closed)(struct qmp *qmp, int reason, void *data);
};

/* The socket is consumed, on failure too, and made non-blocking. */
int qmp_new(struct qmp **ret, struct loop *loop, int consume_fd, const struct qmp_handlers *handlers,
            void *data);
/* Pending calls are failed with -ECONNRESET first. Fine within a handler. */
struct qmp *qmp_free(struct qmp *qmp);

enum qmp_handshake qmp_get_handshake(const struct qmp *qmp);

/* Reads what QEMU has sent so far: for when it has ended, and the end of its process is heard of before its
 * last words. */
void qmp_drain(struct qmp *qmp);

/*
 * Calls a command. `arguments` is stolen, on failure too, and may be NULL. Before the handshake is over the
 * call waits for it, and its deadline runs already. fn may be NULL where the answer is of no interest. 0;
 * -ENOBUFS (too many calls wait, or QEMU reads nothing); -ENOTCONN; -ENOMEM: then fn is not called.
 */
int qmp_call(struct qmp *qmp, const char *command, json_t *consume_arguments, uint64_t timeout_us,
             qmp_reply_fn fn, void *data);
