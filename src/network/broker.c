#include "network/broker.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/elsewhere.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "network/control.h"
#include "wire/fields.h"

#define CREATE_FAILURE 6 /* of berth-protocol(7) */

struct broker {
        struct broker_context context;
        char *path; /* of control.sock */
        struct control *control;
        bool ready; /* the network is */
        bool telling; /* a new broker is being told of the leases */
        uint64_t leases_received; /* on the present broker's connection */
};

/* --- What it is told --- */

static void send_ready(struct broker *broker) {
        const struct configuration *c = broker->context.configuration;
        const struct namespace *namespace = broker->context.namespace;
        int fds[2];
        size_t n = 0;

        if (namespace->user >= 0)
                fds[n++] = namespace->user;
        fds[n++] = namespace->network;
        control_send(broker->control,
                     json_pack("{ss so sO si}", "command", "ready", "network", configuration_facts(c), "configuration",
                               c->body, "pid", (int)getpid()),
                     fds, n);
}

static bool send_handle(uint64_t lease, uint32_t uid, uint32_t pid, const char *program, int socket, void *data) {
        struct broker *broker = data;

        control_send(broker->control,
                     json_pack("{ss sI sI sI ss}", "command", "lease", "lease", (json_int_t)lease, "uid",
                               (json_int_t)uid, "pid", (json_int_t)pid, "program", program),
                     &socket, 1);
        return !control_congested(broker->control);
}

static bool send_forward(const struct forward_request *forward, int socket, void *data) {
        struct broker *broker = data;

        control_send(broker->control,
                     json_pack("{ss sI sI si ss ss si}", "command", "forward", "lease", (json_int_t)forward->lease,
                               "uid", (json_int_t)forward->uid, "forward", (int)forward->number, "protocol",
                               forward_protocol_name(forward->protocol), "name", forward->name, "port",
                               (int)forward->port),
                     &socket, 1);
        return !control_congested(broker->control);
}

/* Of leases and forwards that it does not know. Goes on where it had to stop; the end is told once. */
static void tell(void *data) {
        struct broker *broker = data;

        if (!broker->ready || !control_connected(broker->control) ||
            !leases_tell(broker->context.leases, send_handle, broker) ||
            !forwards_tell(broker->context.forwards, send_forward, broker) || !broker->telling)
                return;
        broker->telling = false;
        control_send(broker->control, json_pack("{ss}", "command", "synced"), NULL, 0);
}

void broker_tell_ready(struct broker *broker) {
        broker->ready = true;
        send_ready(broker);
        tell(broker);
}

void broker_tell_failed(struct broker *broker, const char *text) {
        control_send(broker->control,
                     json_pack("{ss si ss*}", "command", "failed", "error", CREATE_FAILURE, "message", text), NULL, 0);
}

bool broker_tell_idle(struct broker *broker) {
        if (!control_connected(broker->control))
                return false;
        control_send(broker->control,
                     json_pack("{ss sI}", "command", "idle", "leases_received", (json_int_t)broker->leases_received),
                     NULL, 0);
        return true;
}

void broker_tell_lease_ended(struct broker *broker, uint64_t lease) {
        control_send(broker->control, json_pack("{ss sI}", "command", "lease_ended", "lease", (json_int_t)lease), NULL,
                     0);
}

void broker_tell_forward(struct broker *broker) {
        if (!control_congested(broker->control))
                tell(broker);
}

void broker_tell_forward_ended(struct broker *broker, uint64_t lease, unsigned number) {
        control_send(broker->control,
                     json_pack("{ss sI si}", "command", "forward_ended", "lease", (json_int_t)lease, "forward",
                               (int)number),
                     NULL, 0);
}

static bool lease_stands(void *data, uint64_t lease) {
        struct broker *broker = data;

        return leases_has(broker->context.leases, lease);
}

/* Another broker: it learns what there is. One that comes before we are ready hears of it then. */
static void on_arrived(void *data) {
        struct broker *broker = data;

        broker->leases_received = 0;
        leases_forget_broker(broker->context.leases);
        forwards_end_strays(broker->context.forwards, lease_stands, broker);
        forwards_forget_broker(broker->context.forwards);
        broker->telling = true;
        if (!broker->ready)
                return;
        send_ready(broker);
        tell(broker);
        broker->context.arrived(broker->context.data);
}

/* --- What it says --- */

/* No file descriptor is left for a handle. Whoever holds the other end is not to wait for us. */
static void lose_handle(struct broker *broker, uint64_t lease) {
        log_warning("a handle of lease %llu is lost: no file descriptor is left", (unsigned long long)lease);
        control_send(broker->control,
                     json_pack("{ss sI sI}", "command", "handle_lost", "lease", (json_int_t)lease, "leases_received",
                               (json_int_t)broker->leases_received),
                     NULL, 0);
}

static int take_lease(struct broker *broker, struct wire_message *message) {
        uint64_t lease = 0, uid = 0, pid = 0;
        const char *command, *program = "?";
        const struct field fields[] = {
                { "command", FIELD_STRING, true, &command, 0, 0 },
                { "lease", FIELD_U64, true, &lease, 0, INT64_MAX },
                { "uid", FIELD_U64, true, &uid, 0, UINT32_MAX },
                { "pid", FIELD_U64, true, &pid, 0, INT32_MAX },
                { "program", FIELD_STRING, true, &program, 0, 0 },
        };
        struct error error = ERROR_INIT;

        int r = fields_parse(message->body, fields, ARRAY_SIZE(fields), true, &error);
        int fd = wire_message_take_fd(message, 0);
        broker->leases_received++;
        if (r >= 0 && message->lost) {
                lose_handle(broker, lease);
                return 0;
        }
        if (r < 0 || fd < 0) {
                elsewhere_close(fd);
                log_error("the broker's lease is malformed: %s", r < 0 ? error.text : "no file descriptor");
                return -EPROTO;
        }
        r = leases_add(broker->context.leases, lease, (uint32_t)uid, (uint32_t)pid, program, fd, &error);
        if (r < 0)
                log_error("%s", error_text(&error, r));
        return 0;
}

/* One that the process before this one had. */
static int take_forward(struct broker *broker, struct wire_message *message) {
        struct forward_request request = {};
        uint64_t uid = 0, number = 0, port = 0;
        const char *command, *protocol = NULL;
        const struct field fields[] = {
                { "command", FIELD_STRING, true, &command, 0, 0 },
                { "lease", FIELD_U64, true, &request.lease, 0, INT64_MAX },
                { "uid", FIELD_U64, true, &uid, 0, UINT32_MAX },
                { "forward", FIELD_U64, true, &number, 1, INT32_MAX },
                { "protocol", FIELD_STRING, true, &protocol, 0, 0 },
                { "name", FIELD_STRING, true, &request.name, 0, 0 },
                { "port", FIELD_U64, true, &port, 1, 65535 },
        };
        struct error error = ERROR_INIT;

        int r = fields_parse(message->body, fields, ARRAY_SIZE(fields), true, &error);
        int fd = wire_message_take_fd(message, 0);
        if (r >= 0 && message->lost) {
                log_warning("a forward to %s is lost: no file descriptor is left for its socket", request.name);
                return 0;
        }
        if (r < 0 || fd < 0 || !forward_protocol_parse(protocol, &request.protocol)) {
                elsewhere_close(fd);
                log_error("the broker's forward is malformed: %s",
                          r < 0  ? error.text :
                          fd < 0 ? "no file descriptor" :
                                   "its protocol is unknown");
                return -EPROTO;
        }
        unsigned ignored;
        request.uid = (uint32_t)uid;
        request.number = (unsigned)number;
        request.port = (uint16_t)port;
        r = forwards_add(broker->context.forwards, &request, fd, &ignored, &error);
        if (r < 0)
                log_error("%s", error_text(&error, r));
        return 0;
}

static int on_message(void *data, struct wire_message *message) {
        struct broker *broker = data;
        const struct broker_context *context = &broker->context;
        const char *command = json_string_value(json_object_get(message->body, "command"));

        if (text_equal(command, "lease"))
                return take_lease(broker, message);
        if (text_equal(command, "forward"))
                return take_forward(broker, message);
        if (text_equal(command, "end")) {
                leases_end(context->leases, (uint64_t)json_integer_value(json_object_get(message->body, "lease")));
                return 0;
        }
        if (text_equal(command, "list")) {
                json_t *serial = json_object_get(message->body, "serial");
                control_send(broker->control, context->list(context->data, (uint64_t)json_integer_value(serial)), NULL,
                             0);
                return 0;
        }
        if (text_equal(command, "retire")) {
                if (leases_count(context->leases) == 0)
                        context->retire(context->data);
                else
                        log_warning("the broker would remove a network with leases: it stays");
                return 0;
        }
        log_warning("the broker sent an unknown command, \"%s\"", command ? command : "");
        return 0;
}

/* --- The object --- */

int broker_new(struct broker **ret, const struct broker_context *context, struct error *error) {
        struct broker *broker = calloc(1, sizeof(*broker));
        if (!broker)
                return -ENOMEM;

        broker->context = *context;
        broker->path = text_format("%s/control.sock", context->configuration->runtime_directory);
        const struct control_context control = {
                .loop = context->loop,
                .path = broker->path,
                .arrived = on_arrived,
                .message = on_message,
                .drained = tell,
                .data = broker,
        };
        int r = broker->path ? control_new(&broker->control, &control, error) : -ENOMEM;
        if (r < 0) {
                broker_free(broker);
                return r;
        }
        *ret = broker;
        return 0;
}

struct broker *broker_free(struct broker *broker) {
        if (!broker)
                return NULL;
        control_free(broker->control);
        free(broker->path);
        free(broker);
        return NULL;
}

int broker_take(struct broker *broker, struct wire *consume_wire) {
        return control_take(broker->control, consume_wire);
}
