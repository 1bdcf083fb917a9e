/* Broker: what berthd holds, and the rules for the whole of it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "broker/definition.h"
#include "broker/installation.h"
#include "broker/policy.h"
#include "broker/user.h"
#include "loop/loop.h"

struct client;
struct listener;
struct network;

#define BROKER_CLIENTS_MAX 2048

/* What does not change while it runs; the strings are borrowed. */
struct broker_settings {
        struct policy policy;
        const char *runtime, *state, *definitions; /* directories */
        const char *network_program;
        unsigned idle_timeout; /* seconds: a network without leases, the broker without anything */
};

struct broker {
        struct broker_settings settings;
        struct loop *loop; /* borrowed */
        struct listener *listener; /* borrowed; NULL until there is one */
        struct installation installation;
        struct users users;
        struct list networks;
        struct list clients;
        unsigned n_clients;
        uint64_t next_lease; /* greater than every lease of before, other brokers' since the machine started too */
        uint64_t next_serial; /* of `list` to a network */
        struct list again; /* clients with something to do outside of the handler that noticed it */
        struct source *again_timer;
        struct source *idle_timer;
};

int broker_new(struct broker **ret, struct loop *loop, const struct broker_settings *settings,
               struct error *error);
/* Closes every connection without ending a lease or a network: they are the next broker's. Returns NULL. */
struct broker *broker_free(struct broker *broker);

/* By name; borrowed, or NULL. */
struct network *broker_find_network(struct broker *broker, const char *name);

/*
 * Makes a network that is not live, for a peer. The definition is read now. Failures: -ENOENT (nobody defines
 * it), -EACCES and -EDQUOT (not for this peer), anything else: it cannot be made. The text is set in all
 * cases.
 */
int broker_make_network(struct broker *broker, const char *name, const struct peer *peer, struct user *user,
                        struct network **ret, struct error *error);

/* To be called where the last client or network may have gone: starts or stops the time until the broker
 * ends. */
void broker_check_idle(struct broker *broker);
