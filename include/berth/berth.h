/* Berth: named networks for virtual machines. Acquire one, start an interface on it, take its file
 * descriptors. */
#ifndef BERTH_BERTH_H
#define BERTH_BERTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BERTH_API __attribute__((visibility("default")))

/*
 * Conventions
 *
 * Results. Functions that return int return 0 or more on success and a negative errno on failure; what they
 * hand over by `ret` parameters is untouched on failure. The text of the reason is kept in the object that
 * the function was called on (berth_error, berth_network_error), and so is the broker's own code, where the
 * broker refused:
 *
 *      BERTH_ERROR_NOT_ALLOWED     -EACCES      policy, or a limit for a user
 *      BERTH_ERROR_INVALID_REQUEST -EINVAL      malformed, contradictory, unknown
 *      BERTH_ERROR_NOT_FOUND       -ENOENT      no such network, or not live, or not held
 *      BERTH_ERROR_CREATE_FAILURE  -ENODEV      the network or the interface could not be made
 *      BERTH_ERROR_INTERNAL        -EREMOTEIO   anything else on the other side
 *      BERTH_ERROR_IN_USE          -EBUSY       berth_remove: the network has leases
 *
 * Further ones that every exchange may end with: -ENOTCONN (no connection: connect first), -ECONNRESET (it
 * was lost meanwhile), -ETIMEDOUT, -EPROTO (the other side does not speak the protocol), -ENOMEM; and without
 * a code of the other side's, of a text that is not UTF-8 or longer than a request may be, -EINVAL and
 * -EMSGSIZE.
 *
 * Ownership. An object belongs to the caller from the moment it is returned; its free function takes NULL,
 * and returns NULL. Objects do not depend on each other's memory: any order of freeing is fine. Pointers that
 * are returned as const are borrowed from the object and valid as long as it is, or until the next call that
 * is named in their comment.
 *
 * File descriptors are CLOEXEC until they are made inheritable.
 *
 * Threads. The library has no thread, no global state and no callback. An object is used by one thread at a
 * time.
 *
 * Blocking. Functions without `begin`, `dispatch`, `pop` or `get` in their name that talk to the broker or to
 * a network wait for the answer, at most the time that berth_set_timeout sets. They may be mixed with the
 * others: events of requests that were begun before are kept for berth_pop_event.
 *
 * Structs that the library hands out grow only at their end, and `size` says how much of one this library
 * fills; in structs that the caller hands in, `size` says how much the caller knows, and is to be set to
 * sizeof the struct.
 */

enum berth_error_code {
        BERTH_ERROR_NOT_ALLOWED = 3,
        BERTH_ERROR_INVALID_REQUEST = 4,
        BERTH_ERROR_NOT_FOUND = 5,
        BERTH_ERROR_CREATE_FAILURE = 6,
        BERTH_ERROR_INTERNAL = 7,
        BERTH_ERROR_IN_USE = 8,
};

/* A connection to the broker. While it is open, it holds the networks that were acquired through it. */
struct berth;
/* A handle on an acquired network: it keeps the network even when the broker ends. */
struct berth_network;
/* An interface of a network: a tap, with a file descriptor for each of its queues. */
struct berth_interface;

/* What a network is. Strings are borrowed from the network; an address that the network has not is NULL. */
struct berth_network_facts {
        size_t size;
        const char *name;
        const char *mode; /* "shared" (a way out, by NAT) or "host" (the host and nothing else) */
        uint64_t lease; /* the broker's number for what this connection holds */
        const char *subnet; /* "192.168.64.0" */
        const char *mask; /* "255.255.255.0" */
        const char *gateway; /* leads to the host, and serves DHCP and DNS */
        const char *start_address; /* the first and the last that DHCP gives out */
        const char *end_address;
        const char *ipv6_prefix;
        const char *ipv6_gateway;
        uint32_t ipv6_prefix_length;
        uint32_t mtu;
        bool dhcp;
        bool dns;
        bool nat44;
        bool nat66;
        bool router_advertisement;
        bool anti_spoofing;
        const char *domain; /* a VM named "web" is web.DOMAIN */
};

/* What an interface is. Strings are borrowed from the interface; NULL where there is none. */
struct berth_interface_facts {
        size_t size;
        const char *port; /* the network's name for it */
        const char *name;
        const char *mac; /* of the guest's side, "52:54:00:12:34:56" */
        const char *address;
        const char *ipv6_address;
        uint32_t mtu;
        uint32_t max_packet_size; /* bytes of the longest frame without offloads, without the vnet header */
        uint32_t queues;
        uint32_t vnet_header_size; /* bytes of struct virtio_net_hdr before each frame */
        bool isolated;
};

/* How to start an interface. All but `size` may be NULL or 0: then the network chooses. */
struct berth_interface_options {
        size_t size;
        const char *name; /* a DNS label; the same name gets the same MAC and address each time */
        const char *id; /* a UUID, lower case; counts before the name as the identity */
        const char *mac; /* unicast */
        const char *address; /* a fixed IPv4 address in the network's subnet */
        uint32_t mtu; /* 68 to the network's */
        uint32_t queues; /* 1 to 8 */
        bool isolated; /* reaches the gateway and no other VM */
};

enum berth_event_type {
        BERTH_EVENT_ACQUIRED = 1, /* `network` is the caller's from now on */
        BERTH_EVENT_STARTED = 2, /* `interface` is the caller's from now on */
        BERTH_EVENT_FAILED = 3, /* `error`, `code` and `message` say why */
        BERTH_EVENT_DISCONNECTED = 4, /* of a struct berth: the broker has gone; networks stay usable,
                                         berth_connect may be called again */
        BERTH_EVENT_NETWORK_LOST = 5, /* of a struct berth_network: its lease has ended */
};

struct berth_event {
        size_t size;
        enum berth_event_type type;
        uint64_t id; /* what the begin function returned; 0 for the last two types */
        struct berth_network *network;
        struct berth_interface *interface;
        int error; /* a negative errno, 0 without an error */
        int code; /* enum berth_error_code, 0 when it is not the other side that refused */
        const char *message; /* a text for people, never NULL */
};

/* The library's version, "0.1.0". */
BERTH_API const char *berth_version(void);

/* ---- The broker ---- */

/* A new object without a connection. -ENOMEM. */
BERTH_API int berth_new(struct berth **ret);
/* Closes the connection, which releases what was acquired through it. Events that were not popped are
 * dropped. */
BERTH_API struct berth *berth_free(struct berth *berth);

/* The system's broker, also for a user who is not root (root always talks to the system's). */
#define BERTH_CONNECT_SYSTEM 1U
/* Start no broker: -ENOENT or -ECONNREFUSED when none listens. Then the function never waits. */
#define BERTH_CONNECT_NO_START 2U

/*
 * Connects to the broker at `path`, or where NULL, at $BERTH_SOCKET, or where that is not set, at its usual
 * place; in the last case a broker that is not running is started (the user's; root: the system's), which
 * takes at most 10 s. -EISCONN when there is a connection already, -EINVAL (unknown flags), -ENOENT,
 * -ECONNREFUSED (nobody listens), -EACCES, and what starting the broker may end with.
 */
BERTH_API int berth_connect(struct berth *berth, const char *path, unsigned int flags);
/* Takes a socket that is connected to a broker already: inherited, or received. On failure it is closed. */
BERTH_API int berth_connect_fd(struct berth *berth, int consume_fd);
/* The broker's program, for berth_connect to start; $BERTH_BROKER counts before it. NULL: the one of the
 * installation. */
BERTH_API int berth_set_broker_program(struct berth *berth, const char *path);
/* How long a blocking call waits for its answer, in milliseconds: 30000 at first, -1 for ever. */
BERTH_API void berth_set_timeout(struct berth *berth, int milliseconds);
/* Where the last berth_connect went; NULL before it. Valid until the next. */
BERTH_API const char *berth_get_socket(const struct berth *berth);

/* The text of the last failure, one line without a newline; "" when there was none. Valid until the next
 * call. */
BERTH_API const char *berth_error(const struct berth *berth);
/* The broker's code of the last failure, or 0 when it was not the broker that refused. */
BERTH_API int berth_error_code(const struct berth *berth);

/* Acquires a network by name, making it when it is not there. */
BERTH_API int berth_acquire(struct berth *berth, const char *name, struct berth_network **ret);
/* Ends this connection's lease on a network: its interfaces are removed, all its handles are closed. */
BERTH_API int berth_release(struct berth *berth, const char *name);
/* Removes a network that nobody holds, now instead of after its delay. */
BERTH_API int berth_remove(struct berth *berth, const char *name);
/* What there is, as the JSON text of berth-protocol(7), all of it or (name not NULL) of one network; to be
 * freed. */
BERTH_API int berth_list(struct berth *berth, const char *name, char **ret_json);
/*
 * File descriptors with which setns(2) enters a live network: first the user namespace (-1 where the network
 * has none of its own), then the network namespace. ret_json, which may be NULL, is the network as berth_list
 * gives it, without its interfaces; to be freed.
 */
BERTH_API int berth_enter(struct berth *berth, const char *name, int *ret_user_namespace_fd,
                          int *ret_network_namespace_fd, char **ret_json);

/* Whether the connection stays open over execve(2): the lease then lives as long as the new program. */
BERTH_API int berth_set_inheritable(struct berth *berth, bool inheritable);

/*
 * For event loops: wait for get_events (POLLIN, POLLOUT; level-triggered) on get_fd, both asked anew before
 * each wait; then dispatch, which never blocks; then pop until NULL. A blocking call may leave events behind
 * as well: pop after it too. After a lost connection get_fd is -ENOTCONN.
 */
BERTH_API int berth_get_fd(const struct berth *berth);
BERTH_API int berth_get_events(const struct berth *berth);
BERTH_API int berth_dispatch(struct berth *berth);
/* Valid until the next pop. NULL: no event. */
BERTH_API const struct berth_event *berth_pop_event(struct berth *berth);
/* Begins to acquire: ends in BERTH_EVENT_ACQUIRED or BERTH_EVENT_FAILED with this id. */
BERTH_API int berth_acquire_begin(struct berth *berth, const char *name, uint64_t *ret_id);

/* ---- A network ---- */

/* Takes a handle on a network that another process acquired and passed on. It is closed on failure too.
 * Blocks. */
BERTH_API int berth_network_open(int consume_fd, struct berth_network **ret);
/* Closes the handle. The lease ends with its last handle, or with the broker connection that acquired it. */
BERTH_API struct berth_network *berth_network_free(struct berth_network *network);

BERTH_API const struct berth_network_facts *berth_network_get_facts(const struct berth_network *network);

/* As for the broker's connection. */
BERTH_API void berth_network_set_timeout(struct berth_network *network, int milliseconds);
BERTH_API const char *berth_network_error(const struct berth_network *network);
BERTH_API int berth_network_error_code(const struct berth_network *network);
BERTH_API int berth_network_set_inheritable(struct berth_network *network, bool inheritable);

/*
 * Starts an interface; options may be NULL. -E2BIG: the options have members that this library does not know,
 * and they are set.
 */
BERTH_API int berth_network_start(struct berth_network *network,
                                  const struct berth_interface_options *options,
                                  struct berth_interface **ret);
/* Removes an interface from its network. The object stays, to be freed; its tap carries nothing any more.
 * -EINVAL: it is gone already. */
BERTH_API int berth_network_stop(struct berth_network *network, const struct berth_interface *interface);

/*
 * Forwards a port of the host to a VM of this network, by its name, which need not be there yet. `socket` was
 * bound by the caller to the host's port: a TCP socket that listens, or a UDP socket; its type decides. It is
 * borrowed: the network has its own copy from then on, and the forward lives as long as the lease, unless it
 * is ended before. *ret_forward, which may be NULL, is its number. -ENOTSOCK, -EPROTOTYPE (neither a stream
 * nor datagrams), -EINVAL (of no internet family, a stream that does not listen, datagrams without a port,
 * or forwarded already).
 */
BERTH_API int berth_network_forward(struct berth_network *network, int socket, const char *name,
                                    uint16_t port, uint64_t *ret_forward);
/* Ends a forward of this lease with its connections. -EINVAL: there is none of that number. */
BERTH_API int berth_network_unforward(struct berth_network *network, uint64_t forward);
/* The lease's forwards as the JSON array of berth-protocol(7), to be freed. */
BERTH_API int berth_network_list_forwards(struct berth_network *network, char **ret_json);

/* For event loops, as for the broker. The file descriptor is the handle: another process may be given it. */
BERTH_API int berth_network_get_fd(const struct berth_network *network);
BERTH_API int berth_network_get_events(const struct berth_network *network);
BERTH_API int berth_network_dispatch(struct berth_network *network);
BERTH_API const struct berth_event *berth_network_pop_event(struct berth_network *network);
/* Ends in BERTH_EVENT_STARTED or BERTH_EVENT_FAILED with this id. */
BERTH_API int berth_network_start_begin(struct berth_network *network,
                                        const struct berth_interface_options *options, uint64_t *ret_id);

/* ---- An interface ---- */

BERTH_API const struct berth_interface_facts *berth_interface_get_facts(
        const struct berth_interface *interface);
/*
 * The tap's file descriptor for a queue, from 0. It is non-blocking; a read(2) or write(2) is one frame,
 * behind vnet_header_size bytes of struct virtio_net_hdr. `get` lends it; `steal` hands it over, to be closed
 * by the caller (the interface exists until the last is closed). -EINVAL: no such queue; -EBADF: stolen
 * before.
 */
BERTH_API int berth_interface_get_fd(const struct berth_interface *interface, unsigned int queue);
BERTH_API int berth_interface_steal_fd(struct berth_interface *interface, unsigned int queue);
/* Whether the file descriptors that were not stolen stay open over execve(2). */
BERTH_API int berth_interface_set_inheritable(struct berth_interface *interface, bool inheritable);
/* Closes the file descriptors that were not stolen. */
BERTH_API struct berth_interface *berth_interface_free(struct berth_interface *interface);

#ifdef __cplusplus
}
#endif

#endif
