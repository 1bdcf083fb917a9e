#include "vmhost/lease.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "vmhost/session.h"
#include "wire/fields.h"

struct lease {
        struct berth_network *network; /* NULL: adopted, and not needed since */
        int handle; /* adopted from QEMU, for a `network` to be made of; or -errno */
        struct berth_interface *interface; /* NULL: another vmhost's */
        json_t *facts; /* holds the strings of `view` */
        struct session_interface view;
        struct loop *loop; /* while it is watched */
        struct source *source;
};

struct lease *lease_new(void) {
        struct lease *lease = calloc(1, sizeof(*lease));

        if (lease)
                lease->handle = -ENOENT;
        return lease;
}

struct lease *lease_free(struct lease *lease) {
        if (!lease)
                return NULL;
        lease_unwatch(lease);
        berth_interface_free(lease->interface);
        berth_network_free(lease->network);
        fd_close(lease->handle);
        json_decref(lease->facts);
        free(lease);
        return NULL;
}

/* ---- The interface ---- */

static void set_text(json_t *object, const char *key, const char *value) {
        if (value)
                json_object_set_new(object, key, json_string(value));
}

/* The view of an interface that the facts describe: 0, or -EPROTO where they do not. */
static int set_view(struct lease *lease, struct error *error) {
        uint64_t mtu = 0, queues = 0;
        const struct field fields[] = {
                { "network", FIELD_STRING, true, &lease->view.network, 0, 0 },
                { "mac", FIELD_STRING, true, &lease->view.mac, 0, 0 },
                { "address", FIELD_STRING, false, &lease->view.address, 0, 0 },
                { "ipv6_address", FIELD_STRING, false, &lease->view.ipv6_address, 0, 0 },
                { "mtu", FIELD_U64, true, &mtu, 68, 65535 },
                { "queues", FIELD_U64, true, &queues, 1, CONFIGURATION_QUEUES_MAX },
        };

        lease->view = (struct session_interface){ 0 };
        for (size_t i = 0; i < CONFIGURATION_QUEUES_MAX; i++)
                lease->view.taps[i] = -1;
        if (fields_parse(lease->facts, fields, ARRAY_SIZE(fields), true, error) < 0) {
                error_prefix(error, "an interface's facts make no sense");
                return -EPROTO;
        }
        lease->view.mtu = (unsigned)mtu;
        lease->view.queues = (unsigned)queues;
        return 0;
}

/* Takes a started interface into the lease, in place of the one before. */
static int take_interface(struct lease *lease, struct berth_interface *consume_interface,
                          struct error *error) {
        const struct berth_interface_facts *interface = berth_interface_get_facts(consume_interface);
        const struct berth_network_facts *network = berth_network_get_facts(lease->network);
        json_t *facts = json_pack("{ss ss ss si si si}", "network", network->name, "port", interface->port,
                                  "mac", interface->mac, "mtu", (int)interface->mtu, "queues",
                                  (int)interface->queues, "handle_fd", berth_network_get_fd(lease->network));

        berth_interface_free(lease->interface);
        lease->interface = consume_interface;
        if (!facts)
                return error_set(error, -ENOMEM, "out of memory");
        set_text(facts, "address", interface->address);
        set_text(facts, "ipv6_address", interface->ipv6_address);
        set_text(facts, "gateway", network->gateway);
        set_text(facts, "domain", network->domain);
        json_decref(lease->facts);
        lease->facts = facts;

        int r = set_view(lease, error);
        for (unsigned i = 0; r == 0 && i < lease->view.queues; i++)
                lease->view.taps[i] = berth_interface_get_fd(lease->interface, i);
        return r;
}

/*
 * Of a QEMU that just ended the kernel has removed the tap already, but the network's process may have the
 * news still before it, and say that the name is in use: so a refusal counts after a moment only.
 */
static int start_patiently(struct lease *lease, const struct berth_interface_options *options,
                           struct berth_interface **ret) {
        const struct timespec moment = { .tv_nsec = 10 * 1000 * 1000 };
        int r = -EINVAL;

        for (int i = 0; i < 20 && r == -EINVAL; i++) {
                if (i > 0)
                        nanosleep(&moment, NULL);
                r = berth_network_start(lease->network, options, ret);
        }
        return r;
}

static int start(struct lease *lease, const struct configuration_network *wanted, const char *name,
                 struct error *error) {
        const struct berth_interface_options options = {
                .size = sizeof(options),
                .name = name,
                .id = wanted->id,
                .mac = wanted->mac,
                .address = wanted->address,
                .queues = wanted->queues,
                .isolated = wanted->isolated,
        };
        struct berth_interface *interface;

        int r = start_patiently(lease, &options, &interface);
        if (r < 0)
                return error_set(error, r, "cannot start an interface on the network %s: %s", wanted->network,
                                 berth_network_error(lease->network));
        return take_interface(lease, interface, error);
}

/* ---- Having it ---- */

int lease_acquire(struct lease *lease, struct berth *berth, const struct configuration_network *wanted,
                  const char *name, struct error *error) {
        int r = berth_acquire(berth, wanted->network, &lease->network);
        if (r < 0)
                return error_set(error, r, "cannot acquire the network %s: %s", wanted->network,
                                 berth_error(berth));
        return start(lease, wanted, name, error);
}

int lease_adopt(struct lease *lease, json_t *facts, int pidfd, struct error *error) {
        json_t *number = json_object_get(facts, "handle_fd");

        lease->facts = json_incref(facts);
        int r = set_view(lease, error);
        if (r < 0)
                return r;
        if (json_is_integer(number))
                lease->handle = process_take_socket(pidfd, (int)json_integer_value(number));
        return 0;
}

/*
 * An adopted handle becomes a network of libberth's, which asks over it. Replies to what the vmhost before us
 * asked last would be taken for ours: they are dropped first.
 */
static int open_network(struct lease *lease) {
        char bytes[4096];

        if (lease->network)
                return 0;
        if (lease->handle < 0)
                return -ENOTCONN;
        while (recv(lease->handle, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
                ;
        return berth_network_open(steal_fd(&lease->handle), &lease->network);
}

int lease_renew(struct lease *lease, const struct configuration_network *wanted, const char *name,
                struct error *error) {
        if (!text_equal(lease->view.network, wanted->network))
                return error_set(error, -ENOTCONN, "the networks are others than before");
        int r = open_network(lease);
        /* QEMU's end took the interface with it; the network may not have noticed yet. */
        if (r == 0 && lease->interface)
                berth_network_stop(lease->network, lease->interface);
        return r < 0 ? r : start(lease, wanted, name, error);
}

int lease_forward(struct lease *lease, int socket, uint16_t port, struct error *error) {
        const char *name = berth_interface_get_facts(lease->interface)->name;

        int r = berth_network_forward(lease->network, socket, name, port, NULL);
        return r < 0 ? error_set(error, r, "cannot forward to port %u: %s", port,
                                 berth_network_error(lease->network))
                     : 0;
}

/* ---- What there is ---- */

const struct session_interface *lease_interface(const struct lease *lease) {
        return &lease->view;
}

int lease_handle(const struct lease *lease) {
        return lease->network ? berth_network_get_fd(lease->network) : lease->handle;
}

size_t lease_fds(const struct lease *lease, int *ret) {
        size_t n = 0;

        if (lease_handle(lease) >= 0)
                ret[n++] = lease_handle(lease);
        for (unsigned queue = 0; queue < lease->view.queues; queue++)
                if (lease->view.taps[queue] >= 0)
                        ret[n++] = lease->view.taps[queue];
        return n;
}

void lease_handed_over(struct lease *lease) {
        for (unsigned queue = 0; queue < lease->view.queues; queue++)
                if (lease->view.taps[queue] >= 0) {
                        lease->view.taps[queue] = -1;
                        fd_close(berth_interface_steal_fd(lease->interface, queue));
                }
}

json_t *lease_facts(const struct lease *lease) {
        return lease->facts;
}

/* ---- In the loop ---- */

static int on_network(struct source *source, int fd, uint32_t events, void *data);

/* Of an adopted handle only the end is of interest, which epoll reports unasked. */
static int watch(struct lease *lease) {
        return loop_add_fd(lease->loop, &lease->source, lease_handle(lease), lease->network ? EPOLLIN : 0,
                           on_network, lease);
}

static void log_lost(const struct lease *lease, const char *why) {
        log_warning("the lease on the network %s has ended: %s", lease->view.network, why);
}

/* QEMU has a copy of what dispatching may close: session.c says why the source goes first. */
static int on_network(struct source *source, int fd, uint32_t events, void *data) {
        struct lease *lease = data;
        const struct berth_event *event;
        bool lost = false;

        lease->source = source_free(lease->source);
        if (!lease->network) {
                log_lost(lease, "its handle was closed");
                return 0;
        }
        berth_network_dispatch(lease->network);
        while ((event = berth_network_pop_event(lease->network)))
                if (event->type == BERTH_EVENT_NETWORK_LOST) {
                        log_lost(lease, event->message); /* which is the event's, and ends with it */
                        lost = true;
                }
        return lost ? 0 : watch(lease);
}

int lease_watch(struct lease *lease, struct loop *loop) {
        lease_unwatch(lease);
        lease->loop = loop;
        return lease_handle(lease) >= 0 ? watch(lease) : 0;
}

void lease_unwatch(struct lease *lease) {
        lease->source = source_free(lease->source);
}
