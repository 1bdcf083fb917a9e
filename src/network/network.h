/* Network: one live network, put together from its parts. */
#pragma once

#include "base/error.h"
#include "loop/loop.h"
#include "network/configuration.h"
#include "network/links.h"
#include "network/namespace.h"
#include "network/outpost.h"
#include "wire/wire.h"

/*
 *   STARTING --dnsmasq serves, and the uplink is up or said why not--> READY
 *   STARTING --it cannot--> ended, the broker told
 *   READY --retired, or idle with no broker--> ended, nothing left
 *
 * Ended means that the loop is told to exit.
 */
struct network;

/* What main has made before the process entered the network's namespace, and the namespace. Consumed by network_new,
 * on failure too. */
struct network_parts {
        struct configuration configuration;
        struct outpost *outpost;
        struct links *host_links;
        int host_namespace;
        struct namespace namespace;
        struct wire *broker;
};

int network_new(struct network **ret, struct loop *loop, struct network_parts *consume_parts, struct error *error);
/* Lets go of everything without taking it down: the namespace lives on in whoever holds it. */
struct network *network_free(struct network *network);

/* Takes everything down and ends the loop: nothing of the network is left. */
void network_retire(struct network *network);
