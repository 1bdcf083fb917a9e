/* Network: a live network: its state, its leases, and the process that serves it. */
#pragma once

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "broker/definition.h"
#include "broker/lease.h"
#include "broker/peer.h"
#include "broker/prefix.h"
#include "broker/user.h"

struct broker;
struct worker;

/*
 *   (new, adopted) ──> STARTING ──ready──> RUNNING <──ready── RESTARTING
 *                         │                │    └──its process ended──^ │
 *                         │              retire                         │ ended too often
 *                         │                v                            v
 *                         └──failed──> STOPPING ──its process ended──> (gone)
 *
 * A network that is adopted is STARTING until it has told all its leases. Where we are out of file descriptors for what
 * it tells, it is asked again a little later, as often as it takes.
 */
enum network_state { NETWORK_STARTING, NETWORK_RUNNING, NETWORK_RESTARTING, NETWORK_STOPPING };

enum network_event {
        NETWORK_READY,
        NETWORK_FAILED, /* it could not be made: with an error code and a message */
        NETWORK_GONE, /* it is in no list any more, and another of its name may be made */
};

/* Waits for the next event, once. In no list: not waiting. */
struct network_waiter {
        struct list link;
        void (*fn)(struct network_waiter *waiter, enum network_event event, int code, const char *message);
};

/* Waits for the process's answer to `list`; listing is NULL where there is none, and `why` says so. */
struct network_query {
        struct list link;
        uint64_t serial;
        void (*fn)(struct network_query *query, json_t *listing, const char *why);
};

#define NETWORK_DEATHS_MAX                                                                                   \
        5 /* this many within NETWORK_DEATHS_WINDOW, or in a row without success: given up */
#define NETWORK_DEATHS_WINDOW 10000000 /* microseconds */

struct network {
        struct list link; /* in broker->networks */
        struct broker *broker;
        char *name;
        enum network_state state;
        bool adopted; /* STARTING: leases of before and `synced` are to come */
        bool adopting_again; /* until the timer: nothing of what is told now is of use */
        struct definition *definition; /* for the policy; NULL where an adopted network's cannot be read */
        struct user *owner; /* charged for it; NULL: nobody */
        json_t *configuration; /* what its process was or will be given */
        struct prefix ipv4, ipv6; /* of the configuration */
        json_t *facts; /* `network` of acquire's reply, without the lease; NULL before it was ready */
        int namespaces[2]; /* owned; user namespace (user mode only), network namespace */
        size_t n_namespaces;

        struct worker *worker; /* NULL between two of them */
        uint64_t leases_sent; /* `lease` messages to this worker: the other side of `idle` */
        struct list leases;
        /* Leases that were ended by a message which the worker may have been too dead to read: told to the
         * next. */
        uint64_t *ended;
        size_t n_ended, ended_room;

        struct list waiters, queries;
        struct source *timer; /* the deadline, or the pause before a new worker, of the state */
        uint64_t deaths[NETWORK_DEATHS_MAX]; /* the last times that a worker ended unasked, newest first */
        unsigned attempts; /* workers in a row that ended before they were ready */
};

/*
 * Makes its directories and starts its process. Definition, configuration and the charge for CHARGE_NETWORK
 * on `user` (of which a reference is taken) are consumed, on failure too. The network is in the broker's list
 * on success.
 */
int network_new(struct broker *broker, struct definition *consume_definition, json_t *consume_configuration,
                struct user *user, struct network **ret, struct error *error);
/* Takes over the process behind the control socket in the network's directory; the definition (NULL where
 * there is none) is consumed. -ECONNREFUSED or -ENOENT where no process is there. */
int network_adopt(struct broker *broker, const char *name, struct definition *consume_definition,
                  struct network **ret, struct error *error);
/* Lets go of the network and leaves its process alone; clients keep their handles. Returns NULL. */
struct network *network_free(struct network *network);

/* Whether it can be leased now; if not, wait. */
bool network_can_lease(const struct network *network);
void network_wait(struct network *network, struct network_waiter *waiter);

/* Ends a network without leases. */
void network_retire(struct network *network);

/* A NETWORK of `list` without what its process alone knows; NULL when memory is short. */
json_t *network_describe(const struct network *network);
/* False where there is no process to ask now: then fn will not be called. */
bool network_ask(struct network *network, struct network_query *query);

/* For network-message.c: what the process has said. */
void network_set_ready(struct network *network);
void network_adopt_again(struct network *network);
void network_set_failed(struct network *network, int code, const char *message);
