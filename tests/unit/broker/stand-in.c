/*
 * A network's process for the broker's tests: speaks the section "BETWEEN THE BROKER AND A NETWORK" of
 * berth-protocol(7) and makes no network. What it does beyond that depends on the network's name:
 *
 *   fail...   answers `configure` with `failed`
 *   mute...   never answers, and never ends by itself
 *   crash...  ends at once
 *   deaf...   does not answer `list`
 *   long...   answers `list` with forwards that fill a line almost
 *   noise...  tells of each lease with a line that is no message
 *   full...   has no file descriptor left for a second handle
 *
 * A handle answers anything with {"pid", "lease", "brokers"}: so a test sees which process serves it, and how many
 * connections of brokers there have been. `services` of a
 * listing tells what the broker has sent: {"leases": [ids], "ended": [ids], "replacement": bool}.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/text.h"
#include "loop/loop.h"
#include "wire/wire.h"

struct handle {
        struct list link;
        struct network *network;
        json_int_t lease;
        json_t *who; /* the `lease` message, for the next broker */
        struct wire *wire;
        struct source *source;
};

struct network {
        struct loop *loop;
        struct wire *broker;
        struct source *broker_source;
        struct source *idle;
        int listener;
        char *control;
        json_t *configuration;
        json_t *ended;
        bool replacement;
        int n_brokers;
        json_int_t leases_received; /* on this connection */
        struct list handles;
        int namespaces[2];
        size_t n_namespaces;
};

static void say(struct network *network, json_t *body, const int *fds, size_t n_fds) {
        if (network->broker)
                wire_send(network->broker, body, fds, n_fds);
        json_decref(body);
}

static const char *name_of(const struct network *network) {
        return json_string_value(json_object_get(network->configuration, "name"));
}

static bool has_lease(struct network *network, json_int_t lease) {
        list_for_each(struct handle, handle, &network->handles, link)
                if (handle->lease == lease)
                        return true;
        return false;
}

static void check_idle(struct network *network) {
        if (list_empty(&network->handles))
                source_arm(network->idle, 1000 * (uint64_t)json_integer_value(json_object_get(
                                                         network->configuration, "idle_timeout_ms")));
        else
                source_disarm(network->idle);
}

static void handle_free(struct handle *handle) {
        list_unlink(&handle->link);
        source_free(handle->source);
        wire_free(handle->wire);
        json_decref(handle->who);
        free(handle);
}

static int on_handle(struct source *source, int fd, uint32_t events, void *data) {
        struct handle *handle = data;
        struct network *network = handle->network;
        struct wire_message message = WIRE_MESSAGE_INIT;
        json_int_t lease = handle->lease;

        int r = wire_receive(handle->wire, &message, NULL);
        if (r == WIRE_MESSAGE) {
                json_t *body = json_pack("{si sI si}", "pid", (int)getpid(), "lease", lease, "brokers",
                                         network->n_brokers);

                wire_send(handle->wire, body, NULL, 0);
                json_decref(body);
        } else if (r != WIRE_AGAIN) {
                handle_free(handle);
                if (!has_lease(network, lease))
                        say(network, json_pack("{ss sI}", "command", "lease_ended", "lease", lease), NULL, 0);
                check_idle(network);
        }
        wire_message_deinit(&message);
        return 0;
}

static void add_handle(struct network *network, struct wire_message *message) {
        if (text_starts_with(name_of(network), "full") && network->leases_received > 0) {
                network->leases_received++;
                say(network,
                    json_pack("{ss sO sI}", "command", "handle_lost", "lease",
                              json_object_get(message->body, "lease"), "leases_received",
                              network->leases_received),
                    NULL, 0);
                return;
        }
        struct handle *handle = calloc(1, sizeof(*handle));

        assert(handle && message->n_fds == 1);
        handle->network = network;
        handle->lease = json_integer_value(json_object_get(message->body, "lease"));
        handle->who = json_incref(message->body);
        assert(wire_new(&handle->wire, wire_message_take_fd(message, 0)) == 0);
        assert(loop_add_fd(network->loop, &handle->source, wire_fd(handle->wire), EPOLLIN, on_handle,
                           handle) == 0);
        list_append(&network->handles, &handle->link);
        network->leases_received++;
        if (text_starts_with(name_of(network), "noise"))
                assert(write(wire_fd(network->broker), "no message\n", 11) == 11);
        check_idle(network);
}

static void say_ready(struct network *network) {
        json_t *facts = json_pack("{ss sO? sO? sO?}", "name", name_of(network), "mode",
                                  json_object_get(network->configuration, "mode"), "gateway",
                                  json_object_get(network->configuration, "gateway"), "mtu",
                                  json_object_get(network->configuration, "mtu"));

        say(network,
            json_pack("{ss so sO si}", "command", "ready", "network", facts, "configuration",
                      network->configuration, "pid", (int)getpid()),
            network->namespaces, network->n_namespaces);
}

static int on_listener(struct source *source, int fd, uint32_t events, void *data);

static void configure(struct network *network, struct wire_message *message) {
        const char *name, *runtime;
        struct source *source;

        network->configuration = json_incref(message->body);
        name = name_of(network);
        runtime = json_string_value(json_object_get(message->body, "runtime_directory"));
        assert(name && runtime);
        if (text_starts_with(name, "crash"))
                _exit(9);
        if (text_starts_with(name, "mute"))
                return;
        if (text_starts_with(name, "fail")) {
                say(network,
                    json_pack("{ss si ss}", "command", "failed", "error", 6, "message", "the name says so"),
                    NULL, 0);
                exit(1);
        }
        network->replacement = message->n_fds > 0;
        network->n_namespaces = json_is_true(json_object_get(message->body, "system")) ? 1 : 2;
        for (size_t i = 0; i < network->n_namespaces; i++) {
                network->namespaces[i] = wire_message_take_fd(message, i);
                if (network->namespaces[i] < 0)
                        network->namespaces[i] = open(i + 1 < network->n_namespaces ? "/proc/self/ns/user"
                                                                                    : "/proc/self/ns/net",
                                                      O_RDONLY | O_CLOEXEC);
        }
        network->control = text_format("%s/control.sock", runtime);
        unlink(network->control);
        network->listener = fd_listen_unix(network->control, 0600);
        assert(network->listener >= 0);
        assert(loop_add_fd(network->loop, &source, network->listener, EPOLLIN, on_listener, network) == 0);
        say_ready(network);
        check_idle(network);
}

static void answer_list(struct network *network, json_t *body) {
        static char filling[65300]; /* with the rest of a `listing` it is a line; with that of a NETWORK it is more */
        json_t *leases = json_array(), *forwards = json_array();

        if (text_starts_with(name_of(network), "deaf"))
                return;
        list_for_each(struct handle, handle, &network->handles, link)
                json_array_append_new(leases, json_integer(handle->lease));
        if (text_starts_with(name_of(network), "long"))
                json_array_append_new(forwards, json_string(memset(filling, 'x', sizeof(filling) - 1)));
        say(network,
            json_pack("{ss sO s[] so s{ss} s{so sO sb}}", "command", "listing", "serial",
                      json_object_get(body, "serial"), "interfaces", "forwards", forwards, "uplink", "kind", "none", "services",
                      "leases", leases, "ended", network->ended, "replacement", network->replacement),
            NULL, 0);
}

static void end_lease(struct network *network, json_t *lease) {
        json_array_append(network->ended, lease);
        list_for_each(struct handle, handle, &network->handles, link)
                if (handle->lease == json_integer_value(lease))
                        handle_free(handle);
        check_idle(network);
}

static void handle_message(struct network *network, struct wire_message *message) {
        const char *command = json_string_value(json_object_get(message->body, "command"));

        if (text_equal(command, "configure"))
                configure(network, message);
        else if (text_equal(command, "lease"))
                add_handle(network, message);
        else if (text_equal(command, "end"))
                end_lease(network, json_object_get(message->body, "lease"));
        else if (text_equal(command, "list"))
                answer_list(network, message->body);
        else if (text_equal(command, "retire")) {
                unlink(network->control);
                exit(0);
        } else
                abort();
}

static int on_broker(struct source *source, int fd, uint32_t events, void *data) {
        struct network *network = data;
        struct wire_message message = WIRE_MESSAGE_INIT;

        int r = wire_receive(network->broker, &message, NULL);
        if (r == WIRE_MESSAGE)
                handle_message(network, &message);
        wire_message_deinit(&message);
        if (r == WIRE_AGAIN)
                return 0;
        if (r != WIRE_MESSAGE) {
                network->broker_source = source_free(network->broker_source);
                network->broker = wire_free(network->broker);
                if (!network->control) /* not configured, or mute */
                        exit(1);
                return 0;
        }
        return wire_has_input(network->broker) ? on_broker(source, fd, events, data) : 0;
}

static void take_broker(struct network *network, int fd) {
        network->broker_source = source_free(network->broker_source);
        network->broker = wire_free(network->broker);
        network->leases_received = 0;
        network->n_brokers++;
        assert(wire_new(&network->broker, fd) == 0);
        assert(loop_add_fd(network->loop, &network->broker_source, fd, EPOLLIN, on_broker, network) == 0);
}

static int on_listener(struct source *source, int fd, uint32_t events, void *data) {
        struct network *network = data;

        take_broker(network, accept4(fd, NULL, NULL, SOCK_CLOEXEC));
        say_ready(network);
        list_for_each(struct handle, handle, &network->handles, link)
                say(network, json_incref(handle->who), (int[]){ wire_fd(handle->wire) }, 1);
        say(network, json_pack("{ss}", "command", "synced"), NULL, 0);
        check_idle(network);
        return 0;
}

static int on_idle(struct source *source, void *data) {
        struct network *network = data;

        if (!network->broker) {
                unlink(network->control);
                exit(0);
        }
        say(network, json_pack("{ss sI}", "command", "idle", "leases_received", network->leases_received),
            NULL, 0);
        return 0;
}

int main(int argc, char **argv) {
        struct network network = { .ended = json_array(), .namespaces = { -1, -1 } };

        assert(argc == 3 && text_equal(argv[1], "--name"));
        list_init(&network.handles);
        assert(loop_new(&network.loop) == 0);
        assert(loop_add_timer(network.loop, &network.idle, on_idle, &network) == 0);
        take_broker(&network, 3);
        return loop_run(network.loop) < 0;
}
