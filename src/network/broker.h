/* Broker: what is said to the broker, and what is heard from it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "loop/loop.h"
#include "network/configuration.h"
#include "network/forwards.h"
#include "network/leases.h"
#include "network/namespace.h"
#include "wire/wire.h"

/*
 * The messages between a network's process and its broker, on the connection of control.h. A broker gives leases and
 * the forwards of before, and is told of what it did not give itself:
 *
 *   `ready`, once there is a network, with the namespaces that a replacement of this process would need;
 *   `lease` and `forward`, for each that it does not know, as fast as it reads; to another broker than before that
 *   is all there are, and `synced` says that it has them;
 *   then each change as it happens.
 */
struct broker;

/* All borrowed for its life. */
struct broker_context {
        struct loop *loop;
        const struct configuration *configuration;
        const struct namespace *namespace;
        struct leases *leases;
        struct forwards *forwards;
        /* Another broker has come to a network that is ready, and may not have heard what the one before was told. */
        void (*arrived)(void *data);
        /* The answer to its `list`, a new object. */
        json_t *(*list)(void *data, uint64_t serial);
        /* The network, which has no leases, is to end. */
        void (*retire)(void *data);
        void *data;
};

/* Listens for the brokers to come. 0 or -errno. */
int broker_new(struct broker **ret, const struct broker_context *context, struct error *error);
struct broker *broker_free(struct broker *broker);
/* Takes the connection of the broker that started this process. 0 or -errno. */
int broker_take(struct broker *broker, struct wire *consume_wire);

/* The network serves; each broker to come is told so too. */
void broker_tell_ready(struct broker *broker);
/* The network could not be made; the text is for people. */
void broker_tell_failed(struct broker *broker, const char *text);
/* The network has had no lease for as long as it was to wait. False: there is no broker to decide what follows. */
bool broker_tell_idle(struct broker *broker);
void broker_tell_lease_ended(struct broker *broker, uint64_t lease);
/* There is a forward that it does not know: now, or when it has read what waits for it. */
void broker_tell_forward(struct broker *broker);
void broker_tell_forward_ended(struct broker *broker, uint64_t lease, unsigned number);
