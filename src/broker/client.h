/* Client: a connection to the broker. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/list.h"
#include "broker/code.h"
#include "broker/peer.h"

struct broker;
struct network;
struct request;

#define CLIENT_LEASES_MAX 64

/*
 * Requests are answered in order: while one waits (for a network to be made, for a list), or while the
 * client does not read its replies, nothing more is read: what a client makes the broker hold stays small. A
 * client that is to go is freed from the broker's `again` round and never within a call on it, so whoever
 * holds a client in a handler may go on using it.
 */
struct client {
        struct list link; /* in broker->clients */
        struct list again; /* in broker->again while there is something to do */
        struct broker *broker;
        struct wire *wire;
        struct source *source;
        struct peer peer;
        struct user *user; /* owned reference, charged for the connection */
        struct list leases;
        struct request *request; /* owned; the one that waits, or NULL */
        bool ending; /* no more requests: to be freed when its output is out */
        bool dead; /* to be freed */
};

/* The socket is consumed. Where a limit forbids the client it is told so, and that is all. 0 or -errno. */
int client_new(struct broker *broker, int consume_fd);
/* Ends its leases. Returns NULL. */
struct client *client_free(struct client *client);

/* The client's lease on a network; borrowed, or NULL. */
struct lease *client_find_lease(struct client *client, const struct network *network);
/* Makes a new lease the client's; -EDQUOT where it has as many as it may. */
int client_take_lease(struct client *client, struct lease *lease, struct error *error);

/* Answers the request that is being handled, whether it waited or not. Body and fds are borrowed; a NULL
 * body, as where memory was short, becomes an error 7. */
void client_reply(struct client *client, json_t *body, const int *fds, size_t n_fds);
void client_reply_error(struct client *client, enum code code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* To go on reading, after a wait that ended in no reply of its own. */
void client_wake(struct client *client);
/* One round over broker->again. */
void client_run_again(struct broker *broker);
