/* A connection to the broker: struct berth. */
#include <berth/berth.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/place.h"
#include "base/text.h"
#include "config.h"
#include "lib/channel.h"
#include "lib/launch.h"
#include "lib/network.h"

struct berth {
        struct channel channel;
        char *socket; /* where the last berth_connect went, or NULL */
        char *program; /* the broker's, or NULL for the installed one */
};

const char *berth_version(void) {
        return BERTH_VERSION;
}

int berth_new(struct berth **ret) {
        struct berth *berth = calloc(1, sizeof(*berth));

        if (!berth)
                return -ENOMEM;
        channel_init(&berth->channel, BERTH_EVENT_DISCONNECTED);
        *ret = berth;
        return 0;
}

struct berth *berth_free(struct berth *berth) {
        if (!berth)
                return NULL;
        channel_deinit(&berth->channel);
        free(berth->socket);
        free(berth->program);
        free(berth);
        return NULL;
}

/* What a person can do about a connect that failed. */
static int explain(struct error *error, int code, const char *socket, bool system) {
        switch (code) {
        case -ENOENT:
        case -ECONNREFUSED:
                if (system && geteuid() != 0)
                        return error_set(error, code,
                                         "no broker of the system listens at %s: root has to start it (berthd, or "
                                         "systemctl start berthd.socket)",
                                         socket);
                return error_set(error, code, "no broker listens at %s", socket);
        case -EACCES:
        case -EPERM:
                return error_set(
                        error, code,
                        "not allowed to connect to %s: it belongs to another user, or a directory above it "
                        "is closed",
                        socket);
        default:
                return error_errno(error, code, "cannot connect to the broker at %s", socket);
        }
}

/* The socket at a path that was named: nothing is started there. */
static int connect_named(struct berth *berth, const char *path, bool from_environment) {
        struct error *error = &berth->channel.error;
        int fd;

        berth->socket = strdup(path);
        if (!berth->socket)
                return error_set(error, -ENOMEM, "out of memory");
        fd = fd_connect_unix(path);
        if (fd >= 0)
                return fd;
        explain(error, fd, path, false);
        if (from_environment && (fd == -ENOENT || fd == -ECONNREFUSED))
                return error_set(
                        error, fd,
                        "no broker listens at %s, which BERTH_SOCKET names: start one there (berthd --socket "
                        "%s), or unset BERTH_SOCKET",
                        path, path);
        return fd;
}

static int connect_place(struct berth *berth, bool system, bool may_start) {
        _cleanup_(place_deinit) struct place place = { 0 };
        struct error *error = &berth->channel.error;
        int fd, r;

        r = place_init(&place, system, error);
        if (r < 0)
                return r;
        berth->socket = steal_ptr(place.broker_socket);
        place.broker_socket = strdup(berth->socket);
        if (!place.broker_socket)
                return error_set(error, -ENOMEM, "out of memory");

        fd = fd_connect_unix(place.broker_socket);
        if (fd >= 0)
                return fd;
        /* An ordinary user can start a broker of their own, but not the system's. */
        if ((fd == -ENOENT || fd == -ECONNREFUSED) && may_start && (!system || geteuid() == 0))
                return launch_connect(&place, berth->program, error);
        return explain(error, fd, place.broker_socket, system);
}

int berth_connect(struct berth *berth, const char *path, unsigned int flags) {
        const char *named = secure_getenv("BERTH_SOCKET");
        int fd;

        channel_clear_error(&berth->channel);
        if (flags & ~(BERTH_CONNECT_SYSTEM | BERTH_CONNECT_NO_START))
                return channel_fail(&berth->channel, -EINVAL, "unknown flags %#x", flags);
        if (berth->channel.wire)
                return channel_fail(&berth->channel, -EISCONN, "there is a connection already");

        free(berth->socket);
        berth->socket = NULL;
        if (path)
                fd = connect_named(berth, path, false);
        else if (named && named[0])
                fd = connect_named(berth, named, true);
        else
                fd = connect_place(berth, (flags & BERTH_CONNECT_SYSTEM) || geteuid() == 0,
                                   !(flags & BERTH_CONNECT_NO_START));
        return fd < 0 ? fd : channel_open(&berth->channel, fd);
}

int berth_connect_fd(struct berth *berth, int consume_fd) {
        channel_clear_error(&berth->channel);
        if (berth->channel.wire) {
                fd_close(consume_fd);
                return channel_fail(&berth->channel, -EISCONN, "there is a connection already");
        }
        return channel_open(&berth->channel, consume_fd);
}

int berth_set_broker_program(struct berth *berth, const char *path) {
        char *copy = path ? strdup(path) : NULL;

        if (path && !copy)
                return channel_fail(&berth->channel, -ENOMEM, "out of memory");
        free(berth->program);
        berth->program = copy;
        return 0;
}

void berth_set_timeout(struct berth *berth, int milliseconds) {
        berth->channel.timeout_ms = milliseconds;
}

const char *berth_get_socket(const struct berth *berth) {
        return berth->socket;
}

const char *berth_error(const struct berth *berth) {
        return berth->channel.error.text;
}

int berth_error_code(const struct berth *berth) {
        return berth->channel.code;
}

/* Every request of the broker is a command, most with a network's name. */
static json_t *make_request(const char *command, const char *name) {
        return json_pack("{s:s, s:s*}", "command", command, "network_name", name);
}

int berth_acquire(struct berth *berth, const char *name, struct berth_network **ret) {
        _cleanup_(wire_message_deinit) struct wire_message reply = WIRE_MESSAGE_INIT;
        int r;

        r = channel_call(&berth->channel, make_request("acquire", name), &reply);
        if (r < 0)
                return r;
        return network_new(ret, &reply, &berth->channel.error);
}

static int finish_acquire(struct wire_message *reply, struct berth_event *event, struct error *error) {
        event->type = BERTH_EVENT_ACQUIRED;
        return network_new(&event->network, reply, error);
}

int berth_acquire_begin(struct berth *berth, const char *name, uint64_t *ret_id) {
        return channel_begin(&berth->channel, make_request("acquire", name), finish_acquire, ret_id);
}

/* A command whose reply says nothing but that it is done. */
static int call_plain(struct berth *berth, const char *command, const char *name) {
        _cleanup_(wire_message_deinit) struct wire_message reply = WIRE_MESSAGE_INIT;

        return channel_call(&berth->channel, make_request(command, name), &reply);
}

int berth_release(struct berth *berth, const char *name) {
        return call_plain(berth, "release", name);
}

int berth_remove(struct berth *berth, const char *name) {
        return call_plain(berth, "remove", name);
}

static int dump(struct berth *berth, json_t *value, char **ret_json) {
        char *text = json_dumps(value, JSON_COMPACT);

        if (!text)
                return channel_fail(&berth->channel, -ENOMEM, "out of memory");
        *ret_json = text;
        return 0;
}

int berth_list(struct berth *berth, const char *name, char **ret_json) {
        _cleanup_(wire_message_deinit) struct wire_message reply = WIRE_MESSAGE_INIT;
        int r;

        r = channel_call(&berth->channel, make_request("list", name), &reply);
        return r < 0 ? r : dump(berth, reply.body, ret_json);
}

int berth_enter(struct berth *berth, const char *name, int *ret_user_namespace_fd,
                int *ret_network_namespace_fd, char **ret_json) {
        _cleanup_(wire_message_deinit) struct wire_message reply = WIRE_MESSAGE_INIT;
        json_t *network;
        int r;

        r = channel_call(&berth->channel, make_request("enter", name), &reply);
        if (r < 0)
                return r;
        network = json_object_get(reply.body, "network");
        if (!json_is_object(network) || reply.n_fds < 1 || reply.n_fds > 2)
                return channel_fail(&berth->channel, -EPROTO,
                                    "the reply makes no sense: %zu file descriptors", reply.n_fds);
        if (ret_json) {
                r = dump(berth, network, ret_json);
                if (r < 0)
                        return r;
        }
        *ret_user_namespace_fd = reply.n_fds == 2 ? wire_message_take_fd(&reply, 0) : -1;
        *ret_network_namespace_fd = wire_message_take_fd(&reply, reply.n_fds - 1);
        return 0;
}

int berth_set_inheritable(struct berth *berth, bool inheritable) {
        return channel_set_inheritable(&berth->channel, inheritable);
}

int berth_get_fd(const struct berth *berth) {
        return channel_get_fd(&berth->channel);
}

int berth_get_events(const struct berth *berth) {
        return channel_get_events(&berth->channel);
}

int berth_dispatch(struct berth *berth) {
        return channel_dispatch(&berth->channel);
}

const struct berth_event *berth_pop_event(struct berth *berth) {
        return channel_pop(&berth->channel);
}
