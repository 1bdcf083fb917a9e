/* Leases: who uses the network, and the handles by which they do. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "loop/loop.h"
#include "network/forwards.h"
#include "network/ports.h"

/*
 * A lease has one or more handles, each a socket whose other end a client holds. It ends when the last is closed, or
 * when the broker says so. Over a handle a client starts and stops interfaces and
 * forwards, as berth-protocol(7) says; they end with the lease.
 */
struct leases;

struct leases_context {
        struct loop *loop;
        const struct configuration *configuration;
        struct ports *ports;
        struct forwards *forwards;
        /* The last handle of a lease was closed; not called for leases_end. Then `idle`, if it was the last lease. */
        void (*ended)(void *data, uint64_t lease);
        /* The number of leases is now 0, or no longer. */
        void (*idle)(void *data, bool idle);
        void *data;
};

int leases_new(struct leases **ret, const struct leases_context *context);
struct leases *leases_free(struct leases *leases);

/* A handle for a lease, which is made if it is new. The socket is consumed, on failure too. 0 or -errno. */
int leases_add(struct leases *leases, uint64_t lease, uint32_t uid, uint32_t pid, const char *program,
               int consume_socket, struct error *error);
/* Ends a lease and its interfaces, and closes its handles. An unknown one is no error: it may have just ended. */
void leases_end(struct leases *leases, uint64_t lease);

size_t leases_count(const struct leases *leases);
bool leases_has(const struct leases *leases, uint64_t lease);

/*
 * What the next broker is to be told: for each handle that it does not know yet, its facts and a borrowed socket, as
 * long as fn returns true (more can be taken). True when it knows all. leases_forget_broker makes all unknown again.
 */
typedef bool (*leases_handle_fn)(uint64_t lease, uint32_t uid, uint32_t pid, const char *program, int socket,
                                 void *data);
bool leases_tell(struct leases *leases, leases_handle_fn fn, void *data);
void leases_forget_broker(struct leases *leases);
