/* Forwards: ports of the host that lead to VMs. */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "loop/loop.h"

/*
 * A forward is a listening socket of the host's namespace, made and handed over by a client, so that who may bind
 * what is the kernel's decision about that client. A connection to it is continued by one of the network's namespace
 * to the VM of a name, found anew for each: the VM need not be there yet, and may come back elsewhere. A forward lives
 * as long as its lease.
 *
 * TCP connections are spliced (relay.h). A UDP forward keeps a flow for each client address, which ends after
 * FORWARDS_UDP_PATIENCE without a packet.
 */
struct forwards;

#define FORWARDS_MAX 256 /* of a network */
#define FORWARDS_CONNECTIONS_MAX 1024 /* and flows, of a network */
#define FORWARDS_UDP_PATIENCE 120000000ULL /* microseconds */

enum forward_protocol { FORWARD_TCP, FORWARD_UDP };

struct forwards_context {
        struct loop *loop;
        /* The IPv4 address (host byte order) that the VM has now, or 0. */
        uint32_t (*find)(void *data, const char *name);
        void *data;
};

int forwards_new(struct forwards **ret, const struct forwards_context *context);
struct forwards *forwards_free(struct forwards *forwards);

/*
 * Adds a forward and gives its number. The socket is consumed, on failure too: -EINVAL (it is none of this
 * protocol, or does not listen), -EDQUOT (too many).
 */
int forwards_add(struct forwards *forwards, uint64_t lease, enum forward_protocol protocol, const char *name,
                 uint16_t port, int consume_socket, unsigned *ret_number, struct error *error);
/* Ends a lease's forward with its connections: 0 or -ENOENT. */
int forwards_remove(struct forwards *forwards, uint64_t lease, unsigned number, struct error *error);
void forwards_end_lease(struct forwards *forwards, uint64_t lease);

/* [{"forward","protocol","listen_address","listen_port","name","port","lease","connections"}], of one lease, or of all
 * with 0. */
json_t *forwards_describe(const struct forwards *forwards, uint64_t lease);
