/* A network: the handle that acquire returned, and what can be asked over it. */
#include "lib/network.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/memory.h"
#include "lib/channel.h"
#include "lib/facts.h"
#include "lib/interface.h"

struct berth_network {
        struct channel channel; /* over the handle */
        json_t *object; /* holds the strings of facts */
        struct berth_network_facts facts;
};

static void network_freep(struct berth_network **network) {
        berth_network_free(*network);
}

static struct berth_network *network_alloc(void) {
        struct berth_network *network = calloc(1, sizeof(*network));

        if (network)
                channel_init(&network->channel, BERTH_EVENT_NETWORK_LOST);
        return network;
}

static int network_set_object(struct berth_network *network, json_t *body, struct error *error) {
        network->object = json_incref(json_object_get(body, "network"));
        return facts_parse_network(network->object, &network->facts, error);
}

int network_new(struct berth_network **ret, struct wire_message *reply, struct error *error) {
        _cleanup_(network_freep) struct berth_network *network = network_alloc();
        int r;

        if (!network)
                return error_set(error, -ENOMEM, "out of memory");
        r = network_set_object(network, reply->body, error);
        if (r < 0)
                return r;
        if (reply->n_fds != 1)
                return error_set(error, -EPROTO, "the reply has %zu file descriptors instead of the handle",
                                 reply->n_fds);
        r = channel_open(&network->channel, wire_message_take_fd(reply, 0));
        if (r < 0)
                return error_set(error, r, "%s", error_text(&network->channel.error, r));
        *ret = steal_ptr(network);
        return 0;
}

int berth_network_open(int consume_fd, struct berth_network **ret) {
        _cleanup_(wire_message_deinit) struct wire_message reply = WIRE_MESSAGE_INIT;
        _cleanup_(network_freep) struct berth_network *network = network_alloc();
        int r;

        if (!network) {
                fd_close(consume_fd);
                return -ENOMEM;
        }
        r = channel_open(&network->channel, consume_fd);
        if (r < 0)
                return r;
        r = channel_call(&network->channel, json_pack("{s:s}", "command", "network"), &reply);
        if (r < 0)
                return r;
        r = network_set_object(network, reply.body, NULL);
        if (r < 0)
                return r;
        *ret = steal_ptr(network);
        return 0;
}

struct berth_network *berth_network_free(struct berth_network *network) {
        if (!network)
                return NULL;
        channel_deinit(&network->channel);
        json_decref(network->object);
        free(network);
        return NULL;
}

const struct berth_network_facts *berth_network_get_facts(const struct berth_network *network) {
        return &network->facts;
}

void berth_network_set_timeout(struct berth_network *network, int milliseconds) {
        network->channel.timeout_ms = milliseconds;
}

const char *berth_network_error(const struct berth_network *network) {
        return network->channel.error.text;
}

int berth_network_error_code(const struct berth_network *network) {
        return network->channel.code;
}

int berth_network_set_inheritable(struct berth_network *network, bool inheritable) {
        return channel_set_inheritable(&network->channel, inheritable);
}

/*
 * The caller's options as this library knows them: shorter ones (an older caller) are filled up with zeros,
 * longer ones (a newer caller) must have nothing set in the part that is unknown here.
 */
static int options_read(struct channel *channel, const struct berth_interface_options *options,
                        struct berth_interface_options *ret) {
        *ret = (struct berth_interface_options){ .size = sizeof(*ret) };
        if (!options)
                return 0;
        if (options->size < sizeof(options->size))
                return channel_fail(channel, -EINVAL, "the options' size is not set");
        for (size_t i = sizeof(*ret); i < options->size; i++)
                if (((const char *)options)[i] != 0)
                        return channel_fail(channel, -E2BIG,
                                            "the options are of a newer version than libberth");
        memcpy(ret, options, options->size < sizeof(*ret) ? options->size : sizeof(*ret));
        return 0;
}

/* Adds a member where there is a value; consumes the value. -ENOMEM when it could not be. */
static int add_member(json_t *body, const char *key, bool set, json_t *consume_value) {
        if (!set) {
                json_decref(consume_value);
                return 0;
        }
        return json_object_set_new(body, key, consume_value) < 0 ? -ENOMEM : 0;
}

static int start_request(struct channel *channel, const struct berth_interface_options *options,
                         json_t **ret) {
        struct berth_interface_options o;
        json_t *body;
        int r;

        channel_clear_error(channel);
        r = options_read(channel, options, &o);
        if (r < 0)
                return r;
        body = json_pack("{s:s, s:s*, s:s*, s:s*, s:s*}", "command", "start", "name", o.name, "id", o.id,
                         "mac", o.mac, "address", o.address);
        if (!body)
                return channel_fail(channel, -EINVAL, "an option is not UTF-8, or memory is short");
        if (add_member(body, "mtu", o.mtu > 0, json_integer(o.mtu)) < 0 ||
            add_member(body, "queues", o.queues > 0, json_integer(o.queues)) < 0 ||
            add_member(body, "isolated", o.isolated, json_true()) < 0) {
                json_decref(body);
                return channel_fail(channel, -ENOMEM, "out of memory");
        }
        *ret = body;
        return 0;
}

int berth_network_start(struct berth_network *network, const struct berth_interface_options *options,
                        struct berth_interface **ret) {
        _cleanup_(wire_message_deinit) struct wire_message reply = WIRE_MESSAGE_INIT;
        json_t *body;
        int r;

        r = start_request(&network->channel, options, &body);
        if (r < 0)
                return r;
        r = channel_call(&network->channel, body, &reply);
        if (r < 0)
                return r;
        return interface_new(ret, &reply, &network->channel.error);
}

static int finish_start(struct wire_message *reply, struct berth_event *event, struct error *error) {
        event->type = BERTH_EVENT_STARTED;
        return interface_new(&event->interface, reply, error);
}

int berth_network_start_begin(struct berth_network *network, const struct berth_interface_options *options,
                              uint64_t *ret_id) {
        json_t *body;
        int r;

        r = start_request(&network->channel, options, &body);
        if (r < 0)
                return r;
        return channel_begin(&network->channel, body, finish_start, ret_id);
}

int berth_network_stop(struct berth_network *network, const struct berth_interface *interface) {
        _cleanup_(wire_message_deinit) struct wire_message reply = WIRE_MESSAGE_INIT;
        const char *port = berth_interface_get_facts(interface)->port;

        return channel_call(&network->channel, json_pack("{s:s, s:s}", "command", "stop", "port", port),
                            &reply);
}

/* "tcp" or "udp", by the socket's type; NULL after noting why it is neither. */
static const char *forward_protocol(struct channel *channel, int fd, int *ret_error) {
        int type;
        socklen_t size = sizeof(type);

        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
                *ret_error = channel_fail(channel, -errno, "a forward takes a socket: %s", strerror(errno));
        else if (type == SOCK_STREAM)
                return "tcp";
        else if (type == SOCK_DGRAM)
                return "udp";
        else
                *ret_error = channel_fail(channel, -EPROTOTYPE, "a forward takes a TCP or a UDP socket");
        return NULL;
}

int berth_network_forward(struct berth_network *network, int socket, const char *name, uint16_t port,
                          uint64_t *ret_forward) {
        _cleanup_(wire_message_deinit) struct wire_message reply = WIRE_MESSAGE_INIT;
        struct channel *channel = &network->channel;
        json_t *number;
        int r;

        channel_clear_error(channel);
        const char *protocol = forward_protocol(channel, socket, &r);
        if (!protocol)
                return r;
        r = channel_call_fd(channel,
                            json_pack("{s:s, s:s, s:s, s:i}", "command", "forward", "protocol", protocol,
                                      "name", name, "port", (int)port),
                            socket, &reply);
        if (r < 0)
                return r;
        number = json_object_get(reply.body, "forward");
        if (!json_is_integer(number) || json_integer_value(number) < 0)
                return channel_fail(channel, -EPROTO, "the reply has no number of the forward");
        if (ret_forward)
                *ret_forward = (uint64_t)json_integer_value(number);
        return 0;
}

int berth_network_unforward(struct berth_network *network, uint64_t forward) {
        _cleanup_(wire_message_deinit) struct wire_message reply = WIRE_MESSAGE_INIT;

        return channel_call(
                &network->channel,
                json_pack("{s:s, s:I}", "command", "unforward", "forward", (json_int_t)forward), &reply);
}

int berth_network_list_forwards(struct berth_network *network, char **ret_json) {
        _cleanup_(wire_message_deinit) struct wire_message reply = WIRE_MESSAGE_INIT;
        json_t *forwards;
        char *text;
        int r;

        r = channel_call(&network->channel, json_pack("{s:s}", "command", "forwards"), &reply);
        if (r < 0)
                return r;
        forwards = json_object_get(reply.body, "forwards");
        if (!json_is_array(forwards))
                return channel_fail(&network->channel, -EPROTO, "the reply has no forwards");
        text = json_dumps(forwards, JSON_COMPACT);
        if (!text)
                return channel_fail(&network->channel, -ENOMEM, "out of memory");
        *ret_json = text;
        return 0;
}

int berth_network_get_fd(const struct berth_network *network) {
        return channel_get_fd(&network->channel);
}

int berth_network_get_events(const struct berth_network *network) {
        return channel_get_events(&network->channel);
}

int berth_network_dispatch(struct berth_network *network) {
        return channel_dispatch(&network->channel);
}

const struct berth_event *berth_network_pop_event(struct berth_network *network) {
        return channel_pop(&network->channel);
}
