/* Lease: a client's share in a network, as long as one of its handles is open. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/list.h"
#include "broker/user.h"

struct client;
struct network;

/*
 * A handle is a socket pair: the client has one end, the network's process the other, and the broker a copy
 * of the latter, so that it can give it to a replacement of that process without the client noticing.
 */
struct lease_forward {
        struct list link;
        unsigned number;
        json_t *body; /* the network's `forward` message, which a replacement is sent as it is */
        int socket; /* owned: keeps the port open while the network has no process */
        bool sent; /* the network's process of now knows it */
};

struct lease {
        struct list by_network;
        struct list by_client; /* unlinked while client is NULL */
        uint64_t id;
        struct network *network;
        struct client *client; /* NULL when it came from another broker's time */
        struct user *user; /* owned reference, charged for the handles */
        pid_t pid;
        char program[64];
        int *handles; /* owned */
        uint64_t *serials; /* of the message by which each was sent, as network->leases_sent counted it; 0: not by us */
        size_t n_handles, room;
        size_t n_sent; /* the first so many of them are known to the network's process of now */
        struct list forwards; /* what the network's process told us to keep for its replacement */
};

/* A lease without handles, in no list. NULL when memory is short. */
struct lease *lease_new(uint64_t id, struct network *network, struct user *user, pid_t pid,
                        const char *program);
/* Leaves its lists and closes its copies of the handles. NULL is fine. Returns NULL. */
struct lease *lease_free(struct lease *lease);

/* The fd is consumed, on failure too. 0, -EDQUOT with a text, or -ENOMEM. */
int lease_add_handle(struct lease *lease, int consume_fd, struct error *error);
/* Keeps a forward that the network's process knows; the fd is consumed, on failure too. 0 or -ENOMEM. */
int lease_add_forward(struct lease *lease, unsigned number, json_t *body, int consume_fd);
void lease_remove_forward(struct lease *lease, unsigned number);
void lease_remove_forwards(struct lease *lease);
/* Looks again what program its process runs: one that was started to become another (execve(2)) has become it. A
 * process that is gone, or another under its pid, changes nothing. */
void lease_refresh_program(struct lease *lease);
/* Drops the handles that the client has closed; how many are left. */
size_t lease_sweep(struct lease *lease);
/* Drops the handle that was sent by that message, so that the client sees its end; how many are left. */
size_t lease_drop_sent(struct lease *lease, uint64_t serial);
