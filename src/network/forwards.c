#include "network/forwards.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/text.h"
#include "network/relay.h"

#define TURN 64 /* packets of one socket before others have their turn */
#define DATAGRAM_MAX 65535

struct forward {
        struct list entry;
        struct forwards *forwards;
        uint64_t lease;
        uint32_t uid;
        unsigned number;
        bool told; /* the broker knows it: it gave it, or was told */
        enum forward_protocol protocol;
        char name[64];
        uint16_t port;
        int socket;
        struct source *source;
        struct list channels; /* connections or flows */
        unsigned n_channels;
};

/* A TCP connection (relay) or a UDP flow (socket, source, timer, client). */
struct channel {
        struct list entry;
        struct forward *forward;
        struct relay *relay;
        int socket;
        struct source *source, *timer;
        struct sockaddr_storage client;
        socklen_t client_size;
};

struct forwards {
        struct forwards_context context;
        struct list forwards;
        unsigned n, n_channels, last;
};

int forwards_new(struct forwards **ret, const struct forwards_context *context) {
        struct forwards *forwards = calloc(1, sizeof(*forwards));
        if (!forwards)
                return -ENOMEM;

        forwards->context = *context;
        list_init(&forwards->forwards);
        *ret = forwards;
        return 0;
}

static void channel_free(struct channel *channel) {
        list_unlink(&channel->entry);
        channel->forward->n_channels--;
        channel->forward->forwards->n_channels--;
        relay_free(channel->relay);
        source_free(channel->source);
        source_free(channel->timer);
        fd_close(channel->socket);
        free(channel);
}

static struct channel *channel_new(struct forward *forward) {
        struct channel *channel = forward->forwards->n_channels < FORWARDS_CONNECTIONS_MAX ? calloc(1, sizeof(*channel)) : NULL;

        if (!channel)
                return NULL;
        *channel = (struct channel){ .forward = forward, .socket = -1 };
        list_append(&forward->channels, &channel->entry);
        forward->n_channels++;
        forward->forwards->n_channels++;
        return channel;
}

static void forward_free(struct forward *forward) {
        list_for_each(struct channel, channel, &forward->channels, entry)
                channel_free(channel);
        list_unlink(&forward->entry);
        forward->forwards->n--;
        source_free(forward->source);
        fd_close(forward->socket);
        free(forward);
}

struct forwards *forwards_free(struct forwards *forwards) {
        if (!forwards)
                return NULL;
        list_for_each(struct forward, forward, &forwards->forwards, entry)
                forward_free(forward);
        free(forwards);
        return NULL;
}

/* The broker's copy is closed a little later. A TCP socket that is shut down listens no more, and with SO_REUSEADDR its
 * port can be had at once. */
static void forward_end(struct forward *forward) {
        if (forward->protocol == FORWARD_TCP)
                shutdown(forward->socket, SHUT_RDWR);
        forward_free(forward);
}

/* A socket of the network's namespace, connected or connecting to the VM: the fd or -errno. */
static int connect_vm(const struct forward *forward, int type) {
        const struct forwards_context *context = &forward->forwards->context;
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(forward->port) };

        address.sin_addr.s_addr = htonl(context->find(context->data, forward->name));
        if (address.sin_addr.s_addr == 0)
                return -EHOSTUNREACH;
        _cleanup_fd_ int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 && errno != EINPROGRESS)
                return -errno;
        return steal_fd(&fd);
}

static void on_connection_ended(struct relay *relay, void *data) {
        channel_free(data);
}

/* Closes a connection that leads nowhere with a reset, as a host would that has no listener. */
static void refuse(int consume_fd) {
        const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

        setsockopt(consume_fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        fd_close(consume_fd);
}

static int on_listener(struct source *source, int fd, uint32_t events, void *data) {
        struct forward *forward = data;

        int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (client < 0)
                return 0;
        int vm = connect_vm(forward, SOCK_STREAM);
        struct channel *channel = vm >= 0 ? channel_new(forward) : NULL;
        if (!channel) {
                fd_close(vm);
                refuse(client);
                return 0;
        }
        if (relay_new(&channel->relay, forward->forwards->context.loop, client, vm, on_connection_ended, channel) < 0)
                channel_free(channel);
        return 0;
}

static int on_flow_timer(struct source *source, void *data) {
        channel_free(data);
        return 0;
}

/* From the VM to the client. */
static int on_flow(struct source *source, int fd, uint32_t events, void *data) {
        struct channel *channel = data;
        char datagram[DATAGRAM_MAX];

        for (int i = 0; i < TURN; i++) {
                ssize_t n = recv(fd, datagram, sizeof(datagram), 0);
                /* An error is an ICMP message from the VM, for one packet: the flow goes on. */
                if (n < 0)
                        break;
                sendto(channel->forward->socket, datagram, (size_t)n, MSG_NOSIGNAL, (struct sockaddr *)&channel->client,
                       channel->client_size);
        }
        source_arm(channel->timer, FORWARDS_UDP_PATIENCE);
        return 0;
}

static struct channel *flow_new(struct forward *forward, const struct sockaddr_storage *client, socklen_t size) {
        struct loop *loop = forward->forwards->context.loop;

        _cleanup_fd_ int vm = connect_vm(forward, SOCK_DGRAM);
        struct channel *channel = vm >= 0 ? channel_new(forward) : NULL;
        if (!channel)
                return NULL;
        channel->socket = steal_fd(&vm);
        channel->client = *client;
        channel->client_size = size;
        if (loop_add_fd(loop, &channel->source, channel->socket, EPOLLIN, on_flow, channel) < 0 ||
            loop_add_timer(loop, &channel->timer, on_flow_timer, channel) < 0) {
                channel_free(channel);
                return NULL;
        }
        return channel;
}

static struct channel *find_flow(const struct forward *forward, const struct sockaddr_storage *client, socklen_t size) {
        list_for_each(struct channel, channel, &((struct forward *)forward)->channels, entry)
                if (channel->client_size == size && memcmp(&channel->client, client, size) == 0)
                        return channel;
        return NULL;
}

/* From clients to the VM. */
static int on_datagram(struct source *source, int fd, uint32_t events, void *data) {
        struct forward *forward = data;
        char datagram[DATAGRAM_MAX];

        for (int i = 0; i < TURN; i++) {
                struct sockaddr_storage client = {};
                socklen_t size = sizeof(client);
                ssize_t n = recvfrom(fd, datagram, sizeof(datagram), 0, (struct sockaddr *)&client, &size);
                if (n < 0)
                        return 0;
                struct channel *channel = find_flow(forward, &client, size);
                if (!channel)
                        channel = flow_new(forward, &client, size);
                if (!channel)
                        continue;
                send(channel->socket, datagram, (size_t)n, MSG_NOSIGNAL);
                source_arm(channel->timer, FORWARDS_UDP_PATIENCE);
        }
        return 0;
}

static int check_socket(int fd, enum forward_protocol protocol, struct error *error) {
        int type = 0, domain = 0, listens = 0;
        socklen_t size = sizeof(int);

        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
            getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 ||
            getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0)
                return error_errno(error, -EINVAL, "the file descriptor is no socket");
        if (domain != AF_INET && domain != AF_INET6)
                return error_set(error, -EINVAL, "the socket is of no internet family");
        if (protocol == FORWARD_TCP && (type != SOCK_STREAM || !listens))
                return error_set(error, -EINVAL, "the socket is no listening TCP socket");
        if (protocol == FORWARD_UDP && type != SOCK_DGRAM)
                return error_set(error, -EINVAL, "the socket is no UDP socket");
        return 0;
}

/* Those that a process before this one took were within the limits then. */
static int check_limits(const struct forwards *forwards, const struct forward_request *request, struct error *error) {
        unsigned n = 0;

        if (request->number > 0)
                return 0;
        list_for_each(struct forward, forward, &((struct forwards *)forwards)->forwards, entry)
                n += forward->uid == request->uid;
        if (n >= FORWARDS_USER_MAX)
                return error_set(error, -EDQUOT,
                                 "uid %u has %u forwards on this network, which is the limit for one user",
                                 request->uid, n);
        if (forwards->n >= FORWARDS_MAX)
                return error_set(error, -EDQUOT, "the network has %u forwards, which is the limit", forwards->n);
        return 0;
}

static int listen_on(struct forward *forward) {
        int r = fd_set_nonblock(forward->socket, true);

        return r < 0 ? r :
                       loop_add_fd(forward->forwards->context.loop, &forward->source, forward->socket, EPOLLIN,
                                   forward->protocol == FORWARD_TCP ? on_listener : on_datagram, forward);
}

int forwards_add(struct forwards *forwards, const struct forward_request *request, int consume_socket,
                 unsigned *ret_number, struct error *error) {
        _cleanup_fd_ int fd = consume_socket;

        int r = check_socket(fd, request->protocol, error);
        if (r >= 0)
                r = check_limits(forwards, request, error);
        if (r < 0)
                return r;

        struct forward *forward = calloc(1, sizeof(*forward));
        if (!forward)
                return -ENOMEM;
        *forward = (struct forward){ .forwards = forwards,
                                     .lease = request->lease,
                                     .uid = request->uid,
                                     .number = request->number > 0 ? request->number : forwards->last + 1,
                                     .told = request->number > 0,
                                     .protocol = request->protocol,
                                     .port = request->port,
                                     .socket = steal_fd(&fd) };
        strncpy(forward->name, request->name, sizeof(forward->name) - 1);
        list_init(&forward->channels);
        list_append(&forwards->forwards, &forward->entry);
        forwards->n++;
        if (forwards->last < forward->number)
                forwards->last = forward->number;

        r = listen_on(forward);
        if (r < 0) {
                forward_free(forward);
                return error_errno(error, r, "listening for a forward");
        }
        *ret_number = forward->number;
        if (!forward->told)
                forwards->context.added(forwards->context.data);
        return 0;
}

int forwards_remove(struct forwards *forwards, uint64_t lease, unsigned number, struct error *error) {
        list_for_each(struct forward, forward, &forwards->forwards, entry)
                if (forward->lease == lease && forward->number == number) {
                        bool told = forward->told;

                        forward_end(forward);
                        if (told)
                                forwards->context.removed(forwards->context.data, lease, number);
                        return 0;
                }
        return error_set(error, -ENOENT, "this lease has no forward %u", number);
}

void forwards_end_lease(struct forwards *forwards, uint64_t lease) {
        list_for_each(struct forward, forward, &forwards->forwards, entry)
                if (forward->lease == lease)
                        forward_end(forward);
}

void forwards_end_strays(struct forwards *forwards, bool (*stands)(void *data, uint64_t lease), void *data) {
        list_for_each(struct forward, forward, &forwards->forwards, entry)
                if (!stands(data, forward->lease))
                        forward_end(forward);
}

bool forwards_tell(struct forwards *forwards, forwards_fn fn, void *data) {
        list_for_each(struct forward, forward, &forwards->forwards, entry) {
                if (forward->told)
                        continue;
                const struct forward_request request = { forward->lease,    forward->uid,  forward->number,
                                                         forward->protocol, forward->name, forward->port };
                forward->told = true;
                if (!fn(&request, forward->socket, data))
                        return false;
        }
        return true;
}

void forwards_forget_broker(struct forwards *forwards) {
        list_for_each(struct forward, forward, &forwards->forwards, entry)
                forward->told = false;
}

const char *forward_protocol_name(enum forward_protocol protocol) {
        return protocol == FORWARD_TCP ? "tcp" : "udp";
}

bool forward_protocol_parse(const char *name, enum forward_protocol *ret) {
        if (!text_equal(name, "tcp") && !text_equal(name, "udp"))
                return false;
        *ret = text_equal(name, "tcp") ? FORWARD_TCP : FORWARD_UDP;
        return true;
}

static json_t *describe(const struct forward *forward) {
        struct sockaddr_storage address = {};
        socklen_t size = sizeof(address);
        char text[INET6_ADDRSTRLEN] = "";
        const struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
        const struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;
        uint16_t port;

        getsockname(forward->socket, (struct sockaddr *)&address, &size);
        if (address.ss_family == AF_INET6) {
                inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
                port = ntohs(v6->sin6_port);
        } else {
                inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
                port = ntohs(v4->sin_port);
        }
        return json_pack("{si ss ss si ss si sI si}", "forward", (int)forward->number, "protocol",
                         forward_protocol_name(forward->protocol), "listen_address", text, "listen_port",
                         (int)port, "name", forward->name, "port", (int)forward->port, "lease",
                         (json_int_t)forward->lease, "connections", (int)forward->n_channels);
}

json_t *forwards_describe(const struct forwards *forwards, uint64_t lease) {
        json_t *array = json_array();

        list_for_each(struct forward, forward, &((struct forwards *)forwards)->forwards, entry)
                if (lease == 0 || forward->lease == lease)
                        json_array_append_new(array, describe(forward));
        return array;
}
