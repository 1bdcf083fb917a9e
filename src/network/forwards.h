/* Forwards: ports of the host that lead to VMs. */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "loop/loop.h"
#include "network/forward-socket.h"

/*
 * A forward is a listening socket of the host's namespace, made and handed over by a client, so that who may bind
 * what is the kernel's decision about that client. A connection to it is continued by one of the network's namespace
 * to the VM of a name, found anew for each: the VM need not be there yet, and may come back elsewhere. A forward lives
 * as long as its lease.
 *
 * The broker has a copy of each socket with what it is for, and gives both to a process that takes over the network:
 * the port is never closed meanwhile, and who connects waits in the socket's queue.
 *
 * TCP connections are spliced (relay.h). A UDP forward keeps a flow for each client address, and address of the host's
 * that it asked; it ends after FORWARDS_UDP_PATIENCE without a packet, or when its user has no room for a new one and
 * it was silent for longest. Connections beyond a user's share are reset.
 *
 * A forward ends by itself when whoever kept a copy of its socket shuts that down.
 */
struct forwards;

#define FORWARDS_MAX 1024 /* of a network */
#define FORWARDS_USER_MAX 256 /* of a user on a network; as many as a message can list */
#define FORWARDS_CONNECTIONS_MAX 2048 /* of a network, and as many flows; half of it for a user who is alone */
#define FORWARDS_UDP_PATIENCE 120000000ULL /* microseconds */

struct forwards_context {
        struct loop *loop;
        /* The IPv4 address (host byte order) that the VM has now, or 0. */
        uint32_t (*find)(void *data, const char *name);
        /* A new forward is there, which the broker is to be told before anything else happens. */
        void (*added)(void *data);
        /* One that the broker knows was removed; not called for those that end with their lease. */
        void (*removed)(void *data, uint64_t lease, unsigned number);
        void *data;
};

struct forward_request {
        uint64_t lease;
        uint32_t uid;
        unsigned number; /* 0: a new forward; else one of the process before this one, which the broker gives back */
        enum forward_protocol protocol;
        const char *name; /* borrowed */
        uint16_t port;
};

int forwards_new(struct forwards **ret, const struct forwards_context *context);
struct forwards *forwards_free(struct forwards *forwards);

/*
 * Adds a forward and gives its number. The socket is consumed, on failure too: -EINVAL (it is none of this
 * protocol, does not listen, or has no port), -EEXIST (it is another forward's), -EDQUOT (too many of this user, or
 * of all).
 */
int forwards_add(struct forwards *forwards, const struct forward_request *request, int consume_socket,
                 unsigned *ret_number, struct error *error);
/* Ends a lease's forward with its connections: 0 or -ENOENT. */
int forwards_remove(struct forwards *forwards, uint64_t lease, unsigned number, struct error *error);
void forwards_end_lease(struct forwards *forwards, uint64_t lease);
/* Ends those whose lease does not stand: a broker gives a forward before its lease, and may die in between. */
void forwards_end_strays(struct forwards *forwards, bool (*stands)(void *data, uint64_t lease), void *data);

/* What the broker is to be told, with a borrowed socket; as leases_tell and leases_forget_broker. */
typedef bool (*forwards_fn)(const struct forward_request *forward, int socket, void *data);
bool forwards_tell(struct forwards *forwards, forwards_fn fn, void *data);
void forwards_forget_broker(struct forwards *forwards);

/* "tcp" or "udp", and back; false where it is neither. */
const char *forward_protocol_name(enum forward_protocol protocol);
bool forward_protocol_parse(const char *name, enum forward_protocol *ret);

/* [{"forward","protocol","listen_address","listen_port","name","port","lease","connections"}], of one lease, or of all
 * with 0. */
json_t *forwards_describe(const struct forwards *forwards, uint64_t lease);
