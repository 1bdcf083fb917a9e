#include "vmhost/session.h"

#include <berth/berth.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "vmhost/listener.h"
#include "wire/fields.h"

/* One network of the VM. Its facts are an object of session_describe's `networks`. */
struct link {
        struct session *session;
        struct berth_network *network; /* NULL: adopted, and not needed since */
        int handle; /* adopted from QEMU, for a `network` to be made of; or -1 */
        struct berth_interface *interface; /* NULL once it is handed over */
        json_t *facts; /* holds the strings of `view` */
        struct session_interface view;
        struct source *source;
};

struct session {
        struct berth *berth;
        int broker_number; /* of the connection to the broker, in QEMU */
        struct loop *loop; /* while it is watched */
        struct source *broker;
        struct link links[CONFIGURATION_NETWORKS_MAX];
        size_t n_links;
        json_t *forwards;
        uint16_t ssh_port;
};

static int session_new(struct session **ret) {
        struct session *session = calloc(1, sizeof(*session));

        if (!session)
                return -ENOMEM;
        for (size_t i = 0; i < CONFIGURATION_NETWORKS_MAX; i++) {
                session->links[i].session = session;
                session->links[i].handle = -1;
        }
        session->forwards = json_array();
        if (!session->forwards || berth_new(&session->berth) < 0) {
                session_free(session);
                return -ENOMEM;
        }
        *ret = session;
        return 0;
}

struct session *session_free(struct session *session) {
        if (!session)
                return NULL;
        session_unwatch(session);
        /* First, as the broker ends the leases then, all at once. */
        berth_free(session->berth);
        for (size_t i = 0; i < session->n_links; i++) {
                struct link *link = &session->links[i];

                berth_interface_free(link->interface);
                berth_network_free(link->network);
                fd_close(link->handle);
                json_decref(link->facts);
        }
        json_decref(session->forwards);
        free(session);
        return NULL;
}

void session_freep(struct session **session) {
        *session = session_free(*session);
}

/* ---- Facts ---- */

static void set_text(json_t *object, const char *key, const char *value) {
        if (value)
                json_object_set_new(object, key, json_string(value));
}

/* The view of an interface that the facts describe: 0, or -EPROTO where they do not. */
static int link_view(struct link *link, struct error *error) {
        uint64_t mtu = 0, queues = 0;
        const struct field fields[] = {
                { "network", FIELD_STRING, true, &link->view.network, 0, 0 },
                { "mac", FIELD_STRING, true, &link->view.mac, 0, 0 },
                { "address", FIELD_STRING, false, &link->view.address, 0, 0 },
                { "ipv6_address", FIELD_STRING, false, &link->view.ipv6_address, 0, 0 },
                { "mtu", FIELD_U64, true, &mtu, 68, 65535 },
                { "queues", FIELD_U64, true, &queues, 1, CONFIGURATION_QUEUES_MAX },
        };

        link->view = (struct session_interface){ 0 };
        for (size_t i = 0; i < CONFIGURATION_QUEUES_MAX; i++)
                link->view.taps[i] = -1;
        if (fields_parse(link->facts, fields, ARRAY_SIZE(fields), true, error) < 0) {
                error_prefix(error, "an interface's facts make no sense");
                return -EPROTO;
        }
        link->view.mtu = (unsigned)mtu;
        link->view.queues = (unsigned)queues;
        return 0;
}

/* Takes a started interface into the link, in place of the one before. */
static int link_take(struct link *link, struct berth_interface *consume_interface, struct error *error) {
        const struct berth_interface_facts *interface = berth_interface_get_facts(consume_interface);
        const struct berth_network_facts *network = berth_network_get_facts(link->network);
        json_t *facts = json_pack("{ss ss ss si si si}", "network", network->name, "port", interface->port,
                                  "mac", interface->mac, "mtu", (int)interface->mtu, "queues",
                                  (int)interface->queues, "handle_fd", berth_network_get_fd(link->network));

        berth_interface_free(link->interface);
        link->interface = consume_interface;
        if (!facts)
                return error_set(error, -ENOMEM, "out of memory");
        set_text(facts, "address", interface->address);
        set_text(facts, "ipv6_address", interface->ipv6_address);
        set_text(facts, "gateway", network->gateway);
        set_text(facts, "domain", network->domain);
        json_decref(link->facts);
        link->facts = facts;

        int r = link_view(link, error);
        for (unsigned i = 0; r == 0 && i < link->view.queues; i++)
                link->view.taps[i] = berth_interface_get_fd(link->interface, i);
        return r;
}

/* ---- Acquiring and starting ---- */

/* berthd beside this program where both are installed, in the next directory in a build tree, or NULL, which
 * leaves it to the library. */
static char *find_broker(void) {
        _cleanup_free_ char *own = process_own_directory();
        _cleanup_free_ char *in_build = own ? text_format("%s/../broker", own) : NULL;
        char *found = own ? process_find_program("berthd", own) : NULL;

        return found || !in_build ? found : process_find_program("berthd", in_build);
}

static int session_connect(struct session *session, struct error *error) {
        _cleanup_free_ char *program = find_broker();

        int r = berth_set_broker_program(session->berth, program);
        if (r == 0)
                r = berth_connect(session->berth, NULL, 0);
        return r < 0 ? error_set(error, r, "%s", berth_error(session->berth)) : 0;
}

/*
 * Of a QEMU that just ended the kernel has removed the tap already, but the network's process may have the
 * news still before it, and say that the name is in use: so a refusal counts after a moment only.
 */
static int start_patiently(struct link *link, const struct berth_interface_options *options,
                           struct berth_interface **ret) {
        const struct timespec moment = { .tv_nsec = 10 * 1000 * 1000 };
        int r = -EINVAL;

        for (int i = 0; i < 20 && r == -EINVAL; i++) {
                if (i > 0)
                        nanosleep(&moment, NULL);
                r = berth_network_start(link->network, options, ret);
        }
        return r;
}

static int link_start(struct link *link, const struct configuration_network *wanted, const char *name,
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

        int r = start_patiently(link, &options, &interface);
        if (r < 0)
                return error_set(error, r, "cannot start an interface on the network %s: %s", wanted->network,
                                 berth_network_error(link->network));
        return link_take(link, interface, error);
}

static int check_name(const char *name, struct error *error) {
        return text_is_label(name)
                       ? 0
                       : error_set(error, -EINVAL,
                                   "a VM with networks needs a name of letters, digits and hyphens "
                                   "alone, as it becomes its DNS name: \"%s\"",
                                   name);
}

int session_open(struct session **ret, const struct configuration *c, const char *name, struct error *error) {
        _cleanup_(session_freep) struct session *session = NULL;

        int r = session_new(&session);
        if (r < 0)
                return error_set(error, r, "out of memory");
        if (c->n_networks > 0) {
                r = check_name(name, error);
                if (r == 0)
                        r = session_connect(session, error);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < c->n_networks; i++) {
                struct link *link = &session->links[session->n_links++];

                r = berth_acquire(session->berth, c->networks[i].network, &link->network);
                if (r < 0)
                        return error_set(error, r, "cannot acquire the network %s: %s",
                                         c->networks[i].network, berth_error(session->berth));
                r = link_start(link, &c->networks[i], name, error);
                if (r < 0)
                        return r;
        }
        session->broker_number = berth_get_fd(session->berth);
        *ret = steal_ptr(session);
        return 0;
}

/* ---- Adopting ---- */

/* A file descriptor of another process; its number is 0 or more where there is one. */
static int take_fd(int pidfd, const json_t *number) {
        int fd = json_is_integer(number) ? (int)json_integer_value(number) : -1;
        /* The new file descriptor is CLOEXEC (pidfd_getfd(2)). */
        int taken = fd >= 0 ? (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0) : -1;
        int domain = 0;
        socklen_t size = sizeof(domain);

        if (taken < 0)
                return fd < 0 ? -ENOENT : -errno;
        if (getsockopt(taken, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_UNIX) {
                fd_close(taken);
                return -ENOTSOCK;
        }
        return taken;
}

int session_adopt(struct session **ret, const json_t *facts, int pidfd, struct error *error) {
        _cleanup_(session_freep) struct session *session = NULL;
        json_t *networks = json_object_get(facts, "networks"), *forwards = json_object_get(facts, "forwards"),
               *object;
        size_t i;

        int r = session_new(&session);
        if (r < 0)
                return error_set(error, r, "out of memory");
        if (!json_is_array(networks) || json_array_size(networks) > CONFIGURATION_NETWORKS_MAX)
                return error_set(error, -EPROTO, "the networks of the running VM are not on record");
        session->ssh_port = (uint16_t)json_integer_value(json_object_get(facts, "ssh_port"));
        if (json_is_array(forwards)) {
                json_decref(session->forwards);
                session->forwards = json_incref(forwards);
        }
        json_array_foreach(networks, i, object) {
                struct link *link = &session->links[session->n_links++];

                link->facts = json_incref(object);
                r = link_view(link, error);
                if (r < 0)
                        return r;
                link->handle = take_fd(pidfd, json_object_get(object, "handle_fd"));
        }
        int broker = take_fd(pidfd, json_object_get(facts, "broker_fd"));
        if (broker >= 0) {
                r = berth_connect_fd(session->berth, broker);
                session->broker_number = (int)json_integer_value(json_object_get(facts, "broker_fd"));
        }
        /* Without handles the networks run on all the same; a further run of QEMU acquires them anew. */
        if (session->n_links > 0 && (r < 0 || session->links[0].handle < 0))
                log_info("QEMU's hold on its networks cannot be shared: %s",
                         strerror(r < 0 ? -r : -session->links[0].handle));
        *ret = steal_ptr(session);
        return 0;
}

/*
 * An adopted handle becomes a network of libberth's, which asks over it. Replies to what the vmhost before us
 * asked last would be taken for ours: they are dropped first.
 */
static int link_open(struct link *link) {
        char bytes[4096];

        if (link->network)
                return 0;
        if (link->handle < 0)
                return -ENOTCONN;
        while (recv(link->handle, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
                ;
        return berth_network_open(steal_fd(&link->handle), &link->network);
}

int session_renew(struct session *session, const struct configuration *c, const char *name,
                  struct error *error) {
        if (session->n_links != c->n_networks)
                return error_set(error, -ENOTCONN, "the networks are others than before");
        for (size_t i = 0; i < session->n_links; i++) {
                struct link *link = &session->links[i];

                if (!text_equal(link->view.network, c->networks[i].network))
                        return error_set(error, -ENOTCONN, "the networks are others than before");
                int r = link_open(link);
                /* QEMU's end took the interface with it; the network may not have noticed yet. */
                if (r == 0 && link->interface)
                        berth_network_stop(link->network, link->interface);
                if (r == 0)
                        r = link_start(link, &c->networks[i], name, error);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- Forwards ---- */

/* Hands a socket to the network and notes the forward; the socket is consumed. */
static int add_forward(struct session *session, int consume_socket, const char *name, uint16_t port,
                       struct error *error) {
        _cleanup_fd_ int socket = consume_socket;
        struct berth_network *network = session->links[0].network;

        int r = berth_network_forward(network, socket, name, port, NULL);
        if (r < 0)
                return error_set(error, r, "cannot forward to port %u: %s", port,
                                 berth_network_error(network));
        json_t *forward = listener_describe(socket, port);
        return forward && json_array_append_new(session->forwards, forward) == 0
                       ? 0
                       : error_set(error, -ENOMEM, "out of memory");
}

/* The port of ssh: the one configured, or the one preferred while it is free, or any. */
static int forward_ssh(struct session *session, const struct configuration *c, uint16_t preferred,
                       const char *name, struct error *error) {
        struct configuration_forward forward = { .address.s6_addr = { 127, 0, 0, 1 },
                                                 .host_port = c->ssh_port ? c->ssh_port : preferred,
                                                 .guest_port = 22 };

        int fd = listener_open(&forward, error);
        if (fd < 0 && !c->ssh_port && preferred) {
                forward.host_port = 0;
                fd = listener_open(&forward, error);
        }
        if (fd < 0)
                return fd;
        uint16_t port = listener_port(fd);
        int r = add_forward(session, fd, name, forward.guest_port, error);
        if (r == 0)
                session->ssh_port = port;
        return r;
}

int session_forward_all(struct session *session, const struct configuration *c, uint16_t preferred_ssh_port,
                        struct error *error) {
        if (session->n_links == 0)
                return 0;
        const char *name = berth_interface_get_facts(session->links[0].interface)->name;
        for (size_t i = 0; i < c->n_forwards; i++) {
                int fd = listener_open(&c->forwards[i], error);
                int r = fd < 0 ? fd : add_forward(session, fd, name, c->forwards[i].guest_port, error);

                if (r < 0)
                        return r;
        }
        return c->ssh ? forward_ssh(session, c, preferred_ssh_port, name, error) : 0;
}

/* ---- What there is ---- */

uint16_t session_ssh_port(const struct session *session) {
        return session->ssh_port;
}

size_t session_n_interfaces(const struct session *session) {
        return session->n_links;
}

const struct session_interface *session_get_interface(const struct session *session, size_t i) {
        return i < session->n_links ? &session->links[i].view : NULL;
}

static int handle_of(const struct link *link) {
        return link->network ? berth_network_get_fd(link->network) : link->handle;
}

int session_fds(const struct session *session, int **ret_fds, size_t *ret_n) {
        int *fds = calloc(1 + session->n_links * (1 + CONFIGURATION_QUEUES_MAX), sizeof(*fds));
        size_t n = 0;

        if (!fds)
                return -ENOMEM;
        if (berth_get_fd(session->berth) >= 0)
                fds[n++] = berth_get_fd(session->berth);
        for (size_t i = 0; i < session->n_links; i++) {
                const struct link *link = &session->links[i];

                if (handle_of(link) >= 0)
                        fds[n++] = handle_of(link);
                for (unsigned queue = 0; queue < link->view.queues; queue++)
                        if (link->view.taps[queue] >= 0)
                                fds[n++] = link->view.taps[queue];
        }
        *ret_fds = fds;
        *ret_n = n;
        return 0;
}

void session_handed_over(struct session *session) {
        session->broker_number = berth_get_fd(session->berth);
        for (size_t i = 0; i < session->n_links; i++)
                for (unsigned queue = 0; queue < session->links[i].view.queues; queue++)
                        if (session->links[i].view.taps[queue] >= 0) {
                                session->links[i].view.taps[queue] = -1;
                                fd_close(berth_interface_steal_fd(session->links[i].interface, queue));
                        }
}

json_t *session_describe(const struct session *session) {
        json_t *networks = json_array();
        int broker = berth_get_fd(session->berth) >= 0 ? session->broker_number : -1;

        for (size_t i = 0; i < session->n_links; i++)
                if (json_array_append(networks, session->links[i].facts) < 0) {
                        json_decref(networks);
                        return NULL;
                }
        return json_pack("{si si so sO}", "ssh_port", (int)session->ssh_port, "broker_fd", broker, "networks",
                         networks, "forwards", session->forwards);
}

/* ---- In the loop ---- */

/*
 * Dispatching closes a connection that has ended, and QEMU holds a copy of it: what the loop has registered
 * would stay registered then, beyond its source (epoll(7)). So each handler takes its source away first, and
 * makes another for what goes on.
 */
static int on_broker(struct source *source, int fd, uint32_t events, void *data);
static int on_network(struct source *source, int fd, uint32_t events, void *data);

static int watch_broker(struct session *session) {
        return loop_add_fd(session->loop, &session->broker, berth_get_fd(session->berth), EPOLLIN, on_broker,
                           session);
}

static int on_broker(struct source *source, int fd, uint32_t events, void *data) {
        struct session *session = data;
        const struct berth_event *event;

        session->broker = source_free(session->broker);
        berth_dispatch(session->berth);
        while ((event = berth_pop_event(session->berth)))
                if (event->type == BERTH_EVENT_DISCONNECTED)
                        /* The handles hold the leases; the networks' processes carry the packets. */
                        log_info("the broker has gone (%s); the networks go on", event->message);
        return berth_get_fd(session->berth) >= 0 ? watch_broker(session) : 0;
}

/* Of an adopted handle only the end is of interest, which epoll reports unasked. */
static int watch_network(struct link *link) {
        return loop_add_fd(link->session->loop, &link->source, handle_of(link), link->network ? EPOLLIN : 0,
                           on_network, link);
}

static void log_lost(const struct link *link, const char *why) {
        log_warning("the lease on the network %s has ended: %s", link->view.network, why);
}

static int on_network(struct source *source, int fd, uint32_t events, void *data) {
        struct link *link = data;
        const struct berth_event *event;
        bool lost = false;

        link->source = source_free(link->source);
        if (!link->network) {
                log_lost(link, "its handle was closed");
                return 0;
        }
        berth_network_dispatch(link->network);
        while ((event = berth_network_pop_event(link->network)))
                if (event->type == BERTH_EVENT_NETWORK_LOST) {
                        log_lost(link, event->message); /* which is the event's, and ends with it */
                        lost = true;
                }
        return lost ? 0 : watch_network(link);
}

int session_watch(struct session *session, struct loop *loop) {
        int r = 0;

        session_unwatch(session);
        session->loop = loop;
        if (berth_get_fd(session->berth) >= 0)
                r = watch_broker(session);
        for (size_t i = 0; i < session->n_links && r >= 0; i++)
                if (handle_of(&session->links[i]) >= 0)
                        r = watch_network(&session->links[i]);
        return r;
}

void session_unwatch(struct session *session) {
        session->broker = source_free(session->broker);
        for (size_t i = 0; i < session->n_links; i++)
                session->links[i].source = source_free(session->links[i].source);
}
