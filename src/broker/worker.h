/* Worker: the process of a network, as the broker has it: a pid and a socket. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "loop/loop.h"
#include "wire/wire.h"

/*
 * A worker is spoken to until its process has ended. A line that is no message is lost, and logged; a message whose
 * file descriptors cannot be taken, for we are out of them, is delivered without (`lost`).
 * Whatever else goes wrong on its socket (it closes it, does not read, breaks the framing) ends the process
 * sooner or later, and only that end is told: `ended` is the one place where a network learns that it needs
 * another worker. All that the process sent before it ended is delivered before.
 */
struct worker;

struct worker_events {
        void (*message)(void *data, struct wire_message *message);
        /* `how` is such as "was killed by signal 9". The worker is still there and is to be freed by the
         * callee. */
        void (*ended)(void *data, const char *how);
        /* What waited for it has gone out: worker_is_congested is false again. */
        void (*drained)(void *data);
};

/* Runs `PROGRAM --name NAME` with a socket as file descriptor 3. 0 or -errno. */
int worker_spawn(struct worker **ret, struct loop *loop, const char *program, const char *name,
                 const struct worker_events *events, void *data, struct error *error);
/* Connects to the control socket of a process from another broker's time, which must be of this user. 0 or
 * -errno: -ECONNREFUSED and -ENOENT mean that nobody listens. */
int worker_connect(struct worker **ret, struct loop *loop, const char *control_socket,
                   const struct worker_events *events, void *data, struct error *error);
/* Lets go of the process without ending it. NULL is fine. Returns NULL. */
struct worker *worker_free(struct worker *worker);

pid_t worker_pid(const struct worker *worker);
/* Body and fds are borrowed. A worker that cannot take it is killed. */
void worker_send(struct worker *worker, json_t *body, const int *fds, size_t n_fds);
/* Whether it reads more slowly than it is sent to. Whoever sends at a client's behest is to wait then: for
 * `drained`, or `ended`. */
bool worker_is_congested(const struct worker *worker);
void worker_kill(struct worker *worker, const char *why);
