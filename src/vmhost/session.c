#include "vmhost/session.h"

#include <berth/berth.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "vmhost/lease.h"
#include "vmhost/listener.h"

struct session {
        struct berth *berth;
        int broker_number; /* of the connection to the broker, in QEMU */
        struct loop *loop; /* while it is watched */
        struct source *broker;
        struct lease *leases[CONFIGURATION_NETWORKS_MAX];
        size_t n_leases;
        json_t *forwards;
        uint16_t ssh_port;
};

static int session_new(struct session **ret) {
        struct session *session = calloc(1, sizeof(*session));

        if (!session)
                return -ENOMEM;
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
        for (size_t i = 0; i < session->n_leases; i++)
                lease_free(session->leases[i]);
        json_decref(session->forwards);
        free(session);
        return NULL;
}

void session_freep(struct session **session) {
        *session = session_free(*session);
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

/* One more, or NULL when memory is short. */
static struct lease *add_lease(struct session *session) {
        struct lease *lease = lease_new();

        if (lease)
                session->leases[session->n_leases++] = lease;
        return lease;
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
                struct lease *lease = add_lease(session);

                r = lease ? lease_acquire(lease, session->berth, &c->networks[i], name, error)
                          : error_set(error, -ENOMEM, "out of memory");
                if (r < 0)
                        return r;
        }
        session->broker_number = berth_get_fd(session->berth);
        *ret = steal_ptr(session);
        return 0;
}

/* ---- Adopting ---- */

int session_adopt(struct session **ret, const json_t *facts, int pidfd, struct error *error) {
        _cleanup_(session_freep) struct session *session = NULL;
        json_t *networks = json_object_get(facts, "networks"), *forwards = json_object_get(facts, "forwards"),
               *number = json_object_get(facts, "broker_fd"), *object;
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
                struct lease *lease = add_lease(session);

                r = lease ? lease_adopt(lease, object, pidfd, error)
                          : error_set(error, -ENOMEM, "out of memory");
                if (r < 0)
                        return r;
        }
        int broker = json_is_integer(number) ? process_take_socket(pidfd, (int)json_integer_value(number))
                                             : -ENOENT;
        if (broker >= 0) {
                r = berth_connect_fd(session->berth, broker);
                session->broker_number = (int)json_integer_value(number);
        }
        /* Without handles the networks run on all the same; a further run of QEMU acquires them anew. */
        if (session->n_leases > 0 && (r < 0 || lease_handle(session->leases[0]) < 0))
                log_info("QEMU's hold on its networks cannot be shared: %s",
                         strerror(r < 0 ? -r : -lease_handle(session->leases[0])));
        *ret = steal_ptr(session);
        return 0;
}

int session_renew(struct session *session, const struct configuration *c, const char *name,
                  struct error *error) {
        int r = 0;

        if (session->n_leases != c->n_networks)
                return error_set(error, -ENOTCONN, "the networks are others than before");
        for (size_t i = 0; i < session->n_leases && r == 0; i++)
                r = lease_renew(session->leases[i], &c->networks[i], name, error);
        return r;
}

/* ---- Forwards ---- */

/* Hands a socket to the first network and notes the forward; the socket is consumed. */
static int add_forward(struct session *session, int consume_socket, uint16_t port, struct error *error) {
        _cleanup_fd_ int socket = consume_socket;

        int r = lease_forward(session->leases[0], socket, port, error);
        if (r < 0)
                return r;
        json_t *forward = listener_describe(socket, port);
        return forward && json_array_append_new(session->forwards, forward) == 0
                       ? 0
                       : error_set(error, -ENOMEM, "out of memory");
}

/* The port of ssh: the one configured, or the one preferred while it is free, or any. */
static int forward_ssh(struct session *session, const struct configuration *c, uint16_t preferred,
                       struct error *error) {
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
        int r = add_forward(session, fd, forward.guest_port, error);
        if (r == 0)
                session->ssh_port = port;
        return r;
}

int session_forward_all(struct session *session, const struct configuration *c, uint16_t preferred_ssh_port,
                        struct error *error) {
        if (session->n_leases == 0)
                return 0;
        for (size_t i = 0; i < c->n_forwards; i++) {
                int fd = listener_open(&c->forwards[i], error);
                int r = fd < 0 ? fd : add_forward(session, fd, c->forwards[i].guest_port, error);

                if (r < 0)
                        return r;
        }
        return c->ssh ? forward_ssh(session, c, preferred_ssh_port, error) : 0;
}

/* ---- What there is ---- */

uint16_t session_ssh_port(const struct session *session) {
        return session->ssh_port;
}

size_t session_n_interfaces(const struct session *session) {
        return session->n_leases;
}

const struct session_interface *session_get_interface(const struct session *session, size_t i) {
        return i < session->n_leases ? lease_interface(session->leases[i]) : NULL;
}

int session_fds(const struct session *session, int **ret_fds, size_t *ret_n) {
        int *fds = calloc(1 + session->n_leases * (1 + CONFIGURATION_QUEUES_MAX), sizeof(*fds));
        size_t n = 0;

        if (!fds)
                return -ENOMEM;
        if (berth_get_fd(session->berth) >= 0)
                fds[n++] = berth_get_fd(session->berth);
        for (size_t i = 0; i < session->n_leases; i++)
                n += lease_fds(session->leases[i], fds + n);
        *ret_fds = fds;
        *ret_n = n;
        return 0;
}

void session_handed_over(struct session *session) {
        session->broker_number = berth_get_fd(session->berth);
        for (size_t i = 0; i < session->n_leases; i++)
                lease_handed_over(session->leases[i]);
}

json_t *session_describe(const struct session *session) {
        json_t *networks = json_array();
        int broker = berth_get_fd(session->berth) >= 0 ? session->broker_number : -1;

        for (size_t i = 0; i < session->n_leases; i++)
                if (json_array_append(networks, lease_facts(session->leases[i])) < 0) {
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

int session_watch(struct session *session, struct loop *loop) {
        int r = 0;

        session_unwatch(session);
        session->loop = loop;
        if (berth_get_fd(session->berth) >= 0)
                r = watch_broker(session);
        for (size_t i = 0; i < session->n_leases && r >= 0; i++)
                r = lease_watch(session->leases[i], loop);
        return r;
}

void session_unwatch(struct session *session) {
        session->broker = source_free(session->broker);
        for (size_t i = 0; i < session->n_leases; i++)
                lease_unwatch(session->leases[i]);
}
