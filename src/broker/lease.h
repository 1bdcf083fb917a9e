/* Lease: a client's share in a network, as long as one of its handles is open. */
#pragma once

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
        size_t n_handles, room;
        size_t n_sent; /* the first so many of them are known to the network's process of now */
};

/* A lease without handles, in no list. NULL when memory is short. */
struct lease *lease_new(uint64_t id, struct network *network, struct user *user, pid_t pid,
                        const char *program);
/* Leaves its lists and closes its copies of the handles. NULL is fine. Returns NULL. */
struct lease *lease_free(struct lease *lease);

/* The fd is consumed, on failure too. 0, -EDQUOT with a text, or -ENOMEM. */
int lease_add_handle(struct lease *lease, int consume_fd, struct error *error);
/* Looks again what program its process runs: one that was started to become another (execve(2)) has become it. A
 * process that is gone, or another under its pid, changes nothing. */
void lease_refresh_program(struct lease *lease);
/* Drops the handles that the client has closed; how many are left. */
size_t lease_sweep(struct lease *lease);
