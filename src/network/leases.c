#include "network/leases.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/elsewhere.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "wire/fields.h"
#include "wire/wire.h"

#define TURN 16 /* requests that are answered before others have their turn */

/* Of berth-protocol(7). */
enum { NOT_ALLOWED = 3, INVALID_REQUEST = 4, CREATE_FAILURE = 6 };

struct lease {
        struct list entry;
        struct leases *leases;
        uint64_t number;
        uint32_t uid, pid;
        char program[64];
        struct list handles;
};

struct handle {
        struct list entry;
        struct lease *lease;
        struct wire *wire;
        struct source *source;
        bool told; /* the broker knows it: it gave it, or was told */
};

struct leases {
        struct leases_context context;
        struct list leases;
        size_t n;
};

int leases_new(struct leases **ret, const struct leases_context *context) {
        struct leases *leases = calloc(1, sizeof(*leases));
        if (!leases)
                return -ENOMEM;

        leases->context = *context;
        list_init(&leases->leases);
        *ret = leases;
        return 0;
}

static void handle_free(struct handle *handle) {
        list_unlink(&handle->entry);
        source_free(handle->source);
        wire_free(handle->wire);
        free(handle);
}

static void lease_free(struct lease *lease) {
        list_for_each(struct handle, handle, &lease->handles, entry)
                handle_free(handle);
        list_unlink(&lease->entry);
        lease->leases->n--;
        free(lease);
}

struct leases *leases_free(struct leases *leases) {
        if (!leases)
                return NULL;
        list_for_each(struct lease, lease, &leases->leases, entry)
                lease_free(lease);
        free(leases);
        return NULL;
}

static struct lease *find(const struct leases *leases, uint64_t number) {
        list_for_each(struct lease, lease, &((struct leases *)leases)->leases, entry)
                if (lease->number == number)
                        return lease;
        return NULL;
}

/* For good, also where the broker has a copy of the socket: the peer can put no more into its queue. */
static void hang_up(struct handle *handle) {
        shutdown(wire_fd(handle->wire), SHUT_RDWR);
}

/* The lease's interfaces go with it. */
static void end(struct lease *lease) {
        struct leases *leases = lease->leases;
        uint64_t number = lease->number;

        list_for_each(struct handle, handle, &lease->handles, entry)
                hang_up(handle);
        lease_free(lease);
        ports_end_lease(leases->context.ports, number);
        forwards_end_lease(leases->context.forwards, number);
        if (leases->n == 0)
                leases->context.idle(leases->context.data, true);
}

void leases_end(struct leases *leases, uint64_t number) {
        struct lease *lease = find(leases, number);

        /* The broker may have given the forwards of a lease that it ended before it gave that. */
        if (lease)
                end(lease);
        else
                forwards_end_lease(leases->context.forwards, number);
}

/* A handle was closed, or its peer broke the rules. */
static void close_handle(struct handle *handle) {
        struct lease *lease = handle->lease;
        struct leases *leases = lease->leases;
        uint64_t number = lease->number;

        hang_up(handle);
        handle_free(handle);
        if (!list_empty(&lease->handles))
                return;
        end(lease);
        leases->context.ended(leases->context.data, number);
}

static int answer_object(struct handle *handle, json_t *consume_reply) {
        int r = consume_reply ? wire_send(handle->wire, consume_reply, NULL, 0) : -ENOMEM;

        json_decref(consume_reply);
        return r;
}

static int answer_error(struct handle *handle, int code, const char *message) {
        return answer_object(handle, json_pack("{si ss%}", "error", code, "message", message, strlen(message)));
}

static int code_of(int r) {
        switch (r) {
        case -EDQUOT:
                return NOT_ALLOWED;
        case -EINVAL:
        case -EEXIST:
        case -EADDRINUSE:
        case -ENOENT:
                return INVALID_REQUEST;
        default:
                return CREATE_FAILURE;
        }
}

static int answer_start(struct handle *handle, struct wire_message *message) {
        struct lease *lease = handle->lease;
        struct port_request request = { .lease = lease->number, .uid = lease->uid };
        uint64_t mtu = 0, queues = 0;
        const char *command;
        const struct field fields[] = {
                { "command", FIELD_STRING, true, &command, 0, 0 },
                { "name", FIELD_STRING, false, &request.name, 0, 0 },
                { "id", FIELD_STRING, false, &request.id, 0, 0 },
                { "mac", FIELD_STRING, false, &request.mac, 0, 0 },
                { "address", FIELD_STRING, false, &request.address, 0, 0 },
                { "mtu", FIELD_U64, false, &mtu, 68, 65520 },
                { "queues", FIELD_U64, false, &queues, 1, TAP_QUEUES_MAX },
                { "isolated", FIELD_BOOL, false, &request.isolated, 0, 0 },
        };
        struct error error = ERROR_INIT;
        int fds[TAP_QUEUES_MAX];
        size_t n_fds = 0;
        json_t *interface = NULL;

        int r = fields_parse(message->body, fields, ARRAY_SIZE(fields), false, &error);
        if (r < 0)
                return answer_error(handle, INVALID_REQUEST, error_text(&error, r));
        request.mtu = (unsigned)mtu;
        request.queues = (unsigned)queues;

        r = ports_start(lease->leases->context.ports, &request, fds, &n_fds, &interface, &error);
        if (r < 0)
                return answer_error(handle, code_of(r), error_text(&error, r));

        json_t *reply = json_pack("{so}", "interface", interface);
        r = wire_send(handle->wire, reply, fds, n_fds);
        json_decref(reply);
        for (size_t i = 0; i < n_fds; i++)
                fd_close(fds[i]);
        return r;
}

static int answer_stop(struct handle *handle, struct wire_message *message) {
        const char *command, *port;
        const struct field fields[] = {
                { "command", FIELD_STRING, true, &command, 0, 0 },
                { "port", FIELD_STRING, true, &port, 0, 0 },
        };
        struct error error = ERROR_INIT;

        int r = fields_parse(message->body, fields, ARRAY_SIZE(fields), false, &error);
        if (r >= 0)
                r = ports_stop(handle->lease->leases->context.ports, handle->lease->number, port, &error);
        if (r < 0)
                return answer_error(handle, INVALID_REQUEST, error_text(&error, r));

        return answer_object(handle, json_pack("{ss}", "stopped", port));
}

static int answer_network(struct handle *handle, struct wire_message *message) {
        const char *command;
        const struct field fields[] = { { "command", FIELD_STRING, true, &command, 0, 0 } };
        struct error error = ERROR_INIT;

        int r = fields_parse(message->body, fields, ARRAY_SIZE(fields), false, &error);
        if (r < 0)
                return answer_error(handle, INVALID_REQUEST, error_text(&error, r));

        json_t *network = configuration_facts(handle->lease->leases->context.configuration);
        json_object_set_new(network, "lease", json_integer((json_int_t)handle->lease->number));
        return answer_object(handle, json_pack("{so}", "network", network));
}

static int answer_forward(struct handle *handle, struct wire_message *message) {
        struct forward_request request = { .lease = handle->lease->number, .uid = handle->lease->uid };
        const char *command, *protocol;
        uint64_t port = 0;
        unsigned number = 0;
        const struct field fields[] = {
                { "command", FIELD_STRING, true, &command, 0, 0 },
                { "protocol", FIELD_STRING, true, &protocol, 0, 0 },
                { "name", FIELD_STRING, true, &request.name, 0, 0 },
                { "port", FIELD_U64, true, &port, 1, 65535 },
        };
        struct error error = ERROR_INIT;

        int r = fields_parse(message->body, fields, ARRAY_SIZE(fields), false, &error);
        if (r >= 0 && !forward_protocol_parse(protocol, &request.protocol))
                r = error_set(&error, -EINVAL, "\"protocol\" must be \"tcp\" or \"udp\"");
        if (r >= 0 && !text_is_label(request.name))
                r = error_set(&error, -EINVAL, "\"name\": \"%s\" is no name of a VM", request.name);
        if (r >= 0 && message->n_fds != 1)
                r = error_set(&error, -EINVAL, "a forward comes with one file descriptor, its listening socket");
        request.port = (uint16_t)port;
        if (r >= 0)
                r = forwards_add(handle->lease->leases->context.forwards, &request, wire_message_take_fd(message, 0),
                                 &number, &error);
        if (r < 0)
                return answer_error(handle, code_of(r), error_text(&error, r));
        return answer_object(handle, json_pack("{si}", "forward", (int)number));
}

static int answer_unforward(struct handle *handle, struct wire_message *message) {
        const char *command;
        uint64_t number = 0;
        const struct field fields[] = {
                { "command", FIELD_STRING, true, &command, 0, 0 },
                { "forward", FIELD_U64, true, &number, 1, UINT32_MAX },
        };
        struct error error = ERROR_INIT;

        int r = fields_parse(message->body, fields, ARRAY_SIZE(fields), false, &error);
        if (r >= 0)
                r = forwards_remove(handle->lease->leases->context.forwards, handle->lease->number, (unsigned)number,
                                    &error);
        if (r < 0)
                return answer_error(handle, code_of(r), error_text(&error, r));
        return answer_object(handle, json_pack("{si}", "unforwarded", (int)number));
}

static int answer_forwards(struct handle *handle, struct wire_message *message) {
        struct lease *lease = handle->lease;
        const char *command;
        const struct field fields[] = { { "command", FIELD_STRING, true, &command, 0, 0 } };
        struct error error = ERROR_INIT;

        int r = fields_parse(message->body, fields, ARRAY_SIZE(fields), false, &error);
        if (r < 0)
                return answer_error(handle, INVALID_REQUEST, error_text(&error, r));
        return answer_object(handle, json_pack("{so}", "forwards",
                                               forwards_describe(lease->leases->context.forwards, lease->number)));
}

static const struct command {
        const char *name;
        bool takes_fds;
        int (*answer)(struct handle *handle, struct wire_message *message);
} commands[] = {
        { "start", false, answer_start },     { "stop", false, answer_stop },
        { "network", false, answer_network }, { "forward", true, answer_forward },
        { "unforward", false, answer_unforward }, { "forwards", false, answer_forwards },
};

static const struct command *find_command(const char *name) {
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
                if (text_equal(name, commands[i].name))
                        return &commands[i];
        return NULL;
}

static int answer(struct handle *handle, struct wire_message *message) {
        const char *name = json_string_value(json_object_get(message->body, "command"));
        const struct command *command = name ? find_command(name) : NULL;

        if (!name)
                return answer_error(handle, INVALID_REQUEST, "a request needs a \"command\", a string");
        if (!command) {
                struct error error = ERROR_INIT; /* cut to what a reply can hold, by whole characters */
                error_set(&error, -EINVAL,
                          "a network's handle knows start, stop, network, forward, unforward and forwards, and no "
                          "command \"%s\"",
                          name);
                return answer_error(handle, INVALID_REQUEST, error.text);
        }
        if (message->n_fds > 0 && !command->takes_fds)
                return answer_error(handle, INVALID_REQUEST, "this request takes no file descriptors");
        return command->answer(handle, message);
}

/* One request, or what is wrong with it. 1 when there may be another, 0 when not yet, negative to close. */
static int serve(struct handle *handle) {
        struct wire_message message = WIRE_MESSAGE_INIT;
        struct error error = ERROR_INIT;
        int r;

        switch (wire_receive(handle->wire, &message, &error)) {
        case WIRE_AGAIN:
                return 0;
        case WIRE_MESSAGE:
                r = answer(handle, &message);
                wire_message_deinit(&message);
                return r < 0 ? r : 1;
        case WIRE_MALFORMED:
                r = answer_error(handle, INVALID_REQUEST, error_text(&error, -EINVAL));
                return r < 0 ? r : 1;
        case WIRE_TOO_LONG:
                answer_error(handle, INVALID_REQUEST, error_text(&error, -EINVAL));
                return -EPROTO;
        default:
                return -ECONNRESET;
        }
}

static int on_handle(struct source *source, int fd, uint32_t events, void *data) {
        struct handle *handle = data;
        int r = 1;

        if (events & EPOLLOUT && wire_flush(handle->wire) < 0)
                r = -EPIPE;
        /* A peer that asks and does not read gets no further answers until it does; one that asks without end lets
         * others have their turn. */
        for (int i = 0; i < TURN && r > 0 && !wire_has_output(handle->wire); i++)
                r = serve(handle);
        if (r < 0) {
                close_handle(handle);
                return 0;
        }
        /* Requests that are read already make no socket readable: being writable brings us back for them. */
        source_set_events(handle->source, wire_has_output(handle->wire) ? EPOLLOUT :
                                          wire_has_input(handle->wire)  ? EPOLLIN | EPOLLOUT :
                                                                          EPOLLIN);
        return 0;
}

static int add_handle(struct lease *lease, int consume_socket) {
        struct handle *handle = calloc(1, sizeof(*handle));
        if (!handle) {
                elsewhere_close(consume_socket);
                return -ENOMEM;
        }

        handle->lease = lease;
        handle->told = true;
        list_append(&lease->handles, &handle->entry);
        int r = wire_new(&handle->wire, consume_socket);
        /* `forward` brings one socket, and nothing else brings any. */
        if (r >= 0)
                wire_set_care(handle->wire, WIRE_STRANGER, 1);
        if (r >= 0)
                r = loop_add_fd(lease->leases->context.loop, &handle->source, wire_fd(handle->wire), EPOLLIN, on_handle,
                                handle);
        if (r < 0)
                handle_free(handle);
        return r;
}

int leases_add(struct leases *leases, uint64_t number, uint32_t uid, uint32_t pid, const char *program,
               int consume_socket, struct error *error) {
        struct lease *lease = find(leases, number);

        if (!lease) {
                lease = calloc(1, sizeof(*lease));
                if (!lease) {
                        elsewhere_close(consume_socket);
                        return error_set(error, -ENOMEM, "no memory for a lease");
                }
                *lease = (struct lease){ .leases = leases, .number = number, .uid = uid, .pid = pid };
                strncpy(lease->program, program, sizeof(lease->program) - 1);
                list_init(&lease->handles);
                list_append(&leases->leases, &lease->entry);
                leases->n++;
        }

        int r = add_handle(lease, consume_socket);
        if (r < 0 && list_empty(&lease->handles))
                lease_free(lease);
        if (r < 0)
                return error_errno(error, r, "taking a handle of lease %llu", (unsigned long long)number);
        if (leases->n == 1)
                leases->context.idle(leases->context.data, false);
        return 0;
}

bool leases_has(const struct leases *leases, uint64_t lease) {
        return find(leases, lease) != NULL;
}

size_t leases_count(const struct leases *leases) {
        return leases->n;
}

bool leases_tell(struct leases *leases, leases_handle_fn fn, void *data) {
        list_for_each(struct lease, lease, &leases->leases, entry)
                list_for_each(struct handle, handle, &lease->handles, entry) {
                        if (handle->told)
                                continue;
                        handle->told = true;
                        if (!fn(lease->number, lease->uid, lease->pid, lease->program, wire_fd(handle->wire), data))
                                return false;
                }
        return true;
}

void leases_forget_broker(struct leases *leases) {
        list_for_each(struct lease, lease, &leases->leases, entry)
                list_for_each(struct handle, handle, &lease->handles, entry)
                        handle->told = false;
}
