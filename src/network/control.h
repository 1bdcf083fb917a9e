/* Control: the connection to the broker, or to the next one. */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "loop/loop.h"
#include "wire/wire.h"

/*
 * A network outlives its broker. The first comes with a socket at our birth; each later one connects to `control.sock`
 * and takes the place of the one before. Without a broker all goes on, and the network ends when it is idle.
 */
struct control;

struct control_context {
        struct loop *loop;
        const char *path; /* of control.sock */
        /* A broker has come: it is to be told all. */
        void (*arrived)(void *data);
        /* A message of the broker's; fds may be taken out of it. A negative return drops the broker. */
        int (*message)(void *data, struct wire_message *message);
        /* It has taken all that was waiting for it. */
        void (*drained)(void *data);
        void *data;
};

/* Listens; a stale socket is replaced. 0 or -errno. */
int control_new(struct control **ret, const struct control_context *context, struct error *error);
/* Removes the socket. */
struct control *control_free(struct control *control);

/* Takes a broker's connection as if it had come by the socket, but for `arrived`. */
int control_take(struct control *control, struct wire *consume_wire);

/* Sends to the broker, if there is one; the body is consumed. A broker that cannot be sent to is dropped. */
void control_send(struct control *control, json_t *consume_body, const int *fds, size_t n_fds);
/* Whether what is sent must wait: a broker may be told much at once, and then at the pace at which it reads. */
bool control_congested(const struct control *control);
bool control_connected(const struct control *control);
