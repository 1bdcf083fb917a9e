#include "network/forwards.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/elsewhere.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/text.h"
#include "network/relay.h"

#define TURN 64 /* packets of one socket before others have their turn */
#define DATAGRAM_MAX 65535
#define PAUSE 100000U /* microseconds, where there are no file descriptors for a connection */

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
        uint64_t cookie;
        struct source *source, *pause;
        struct list channels; /* connections or flows; these from the one that was silent for longest on */
        unsigned n_channels;
};

/* A TCP connection (relay) or a UDP flow (socket, source, timer, peer). */
struct channel {
        struct list entry;
        struct forward *forward;
        struct relay *relay;
        int socket;
        struct source *source, *timer;
        struct forward_peer peer;
};

struct forwards {
        struct forwards_context context;
        struct list forwards;
        unsigned n, last;
        unsigned n_channels[2]; /* by protocol */
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
        channel->forward->forwards->n_channels[channel->forward->protocol]--;
        relay_free(channel->relay);
        source_free(channel->source);
        source_free(channel->timer);
        fd_close(channel->socket);
        free(channel);
}

static struct channel *channel_new(struct forward *forward) {
        struct channel *channel = calloc(1, sizeof(*channel));

        if (!channel)
                return NULL;
        *channel = (struct channel){ .forward = forward, .socket = -1 };
        list_append(&forward->channels, &channel->entry);
        forward->n_channels++;
        forward->forwards->n_channels[forward->protocol]++;
        return channel;
}

static void forward_free(struct forward *forward) {
        list_for_each(struct channel, channel, &forward->channels, entry)
                channel_free(channel);
        list_unlink(&forward->entry);
        forward->forwards->n--;
        source_free(forward->source);
        source_free(forward->pause);
        elsewhere_close(forward->socket);
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

/* Connections, or flows, that a user's forwards have. */
static unsigned held_by(const struct forwards *forwards, enum forward_protocol protocol, uint32_t uid) {
        unsigned n = 0;

        list_for_each(struct forward, forward, &((struct forwards *)forwards)->forwards, entry)
                if (forward->protocol == protocol && forward->uid == uid)
                        n += forward->n_channels;
        return n;
}

/* Nobody has more than is left for others: the first takes at most half of all, the next half of the rest. */
static bool has_room(const struct forward *forward) {
        const struct forwards *forwards = forward->forwards;

        return held_by(forwards, forward->protocol, forward->uid) <
               FORWARDS_CONNECTIONS_MAX - forwards->n_channels[forward->protocol];
}

/* The flow of the user that was silent for longest, of the forward that has most of them, makes way for a new one. */
static void make_room(const struct forward *for_whom) {
        struct forward *most = NULL;

        list_for_each(struct forward, forward, &for_whom->forwards->forwards, entry)
                if (forward->protocol == FORWARD_UDP && forward->uid == for_whom->uid &&
                    (!most || forward->n_channels > most->n_channels))
                        most = forward;
        if (most && most->n_channels > 0)
                channel_free(container_of(most->channels.next, struct channel, entry));
}

/* One whose socket was shut down by whoever has a copy of it, from within its handler. */
static int break_off(struct forward *forward) {
        struct forwards_context context = forward->forwards->context;
        uint64_t lease = forward->lease;
        unsigned number = forward->number;
        bool told = forward->told;

        log_warning("forward %u, to %s, port %u: its socket was shut down, which ends it", number, forward->name,
                    forward->port);
        forward_free(forward);
        if (told)
                context.removed(context.data, lease, number);
        return 0;
}

static int on_pause_over(struct source *source, void *data) {
        struct forward *forward = data;

        return source_set_events(forward->source, EPOLLIN | EPOLLRDHUP);
}

static int on_listener(struct source *source, int fd, uint32_t events, void *data) {
        struct forward *forward = data;

        int client = forward_socket_accept(fd);
        if (client == -ENFILE) {
                /* Who connects waits in the socket's queue. */
                source_arm(forward->pause, PAUSE);
                return source_set_events(source, 0);
        }
        if (client == -ESHUTDOWN || (client < 0 && (events & EPOLLHUP)))
                return break_off(forward);
        if (client < 0)
                return 0;
        int vm = has_room(forward) ? connect_vm(forward, SOCK_STREAM) : -EDQUOT;
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

/* The list of flows is kept in the order of their last packets. */
static void touch(struct channel *flow) {
        list_unlink(&flow->entry);
        list_append(&flow->forward->channels, &flow->entry);
        source_arm(flow->timer, FORWARDS_UDP_PATIENCE);
}

/* From the VM to the client. */
static int on_flow(struct source *source, int fd, uint32_t events, void *data) {
        struct channel *channel = data;
        char datagram[DATAGRAM_MAX];

        for (int i = 0; i < TURN; i++) {
                ssize_t n = recv(fd, datagram, sizeof(datagram), MSG_DONTWAIT);
                /* An error is an ICMP message from the VM, for one packet: the flow goes on. */
                if (n < 0)
                        break;
                forward_socket_send(channel->forward->socket, datagram, (size_t)n, &channel->peer);
        }
        touch(channel);
        return 0;
}

static struct channel *flow_new(struct forward *forward, const struct forward_peer *peer) {
        struct loop *loop = forward->forwards->context.loop;

        if (!has_room(forward))
                make_room(forward);
        _cleanup_fd_ int vm = has_room(forward) ? connect_vm(forward, SOCK_DGRAM) : -EDQUOT;
        struct channel *channel = vm >= 0 ? channel_new(forward) : NULL;
        if (!channel)
                return NULL;
        channel->socket = steal_fd(&vm);
        channel->peer = *peer;
        if (loop_add_fd(loop, &channel->source, channel->socket, EPOLLIN, on_flow, channel) < 0 ||
            loop_add_timer(loop, &channel->timer, on_flow_timer, channel) < 0) {
                channel_free(channel);
                return NULL;
        }
        return channel;
}

static bool same_peer(const struct forward_peer *a, const struct forward_peer *b) {
        return a->client_size == b->client_size && memcmp(&a->client, &b->client, a->client_size) == 0 &&
               memcmp(&a->local, &b->local, sizeof(a->local)) == 0;
}

/* From the last on: most packets are of one that had some a moment ago. */
static struct channel *find_flow(const struct forward *forward, const struct forward_peer *peer) {
        for (struct list *l = forward->channels.prev; l != &forward->channels; l = l->prev) {
                struct channel *channel = container_of(l, struct channel, entry);
                if (same_peer(&channel->peer, peer))
                        return channel;
        }
        return NULL;
}

/* From clients to the VM. */
static int on_datagram(struct source *source, int fd, uint32_t events, void *data) {
        struct forward *forward = data;
        char datagram[DATAGRAM_MAX];

        for (int i = 0; i < TURN; i++) {
                struct forward_peer peer;

                ssize_t n = forward_socket_receive(fd, datagram, sizeof(datagram), &peer);
                if (n < 0)
                        break;
                struct channel *channel = find_flow(forward, &peer);
                if (!channel)
                        channel = flow_new(forward, &peer);
                if (!channel)
                        continue;
                send(channel->socket, datagram, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
                touch(channel);
        }
        if (events & (EPOLLHUP | EPOLLRDHUP))
                return break_off(forward);
        if (events & EPOLLERR)
                forward_socket_clear_errors(fd);
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

/* A second forward of one socket would take what is the first's, and end with it. */
static int check_unused(const struct forwards *forwards, int fd, struct error *error) {
        uint64_t cookie = forward_socket_cookie(fd);

        list_for_each(struct forward, forward, &((struct forwards *)forwards)->forwards, entry)
                if (forward->cookie == cookie)
                        return error_set(error, -EEXIST,
                                         "the socket is that of forward %u already; each needs one of its own",
                                         forward->number);
        return 0;
}

static int listen_on(struct forward *forward) {
        struct loop *loop = forward->forwards->context.loop;
        int r = loop_add_timer(loop, &forward->pause, on_pause_over, forward);

        return r < 0 ? r :
                       loop_add_fd(loop, &forward->source, forward->socket, EPOLLIN | EPOLLRDHUP,
                                   forward->protocol == FORWARD_TCP ? on_listener : on_datagram, forward);
}

int forwards_add(struct forwards *forwards, const struct forward_request *request, int consume_socket,
                 unsigned *ret_number, struct error *error) {
        _cleanup_elsewhere_ int fd = consume_socket;

        int r = forward_socket_prepare(fd, request->protocol, error);
        if (r >= 0)
                r = check_unused(forwards, fd, error);
        if (r >= 0)
                r = check_limits(forwards, request, error);
        if (r < 0)
                return r;

        struct forward *forward = calloc(1, sizeof(*forward));
        if (!forward)
                return -ENOMEM;
        uint64_t cookie = forward_socket_cookie(fd);
        *forward = (struct forward){ .forwards = forwards,
                                     .lease = request->lease,
                                     .uid = request->uid,
                                     .number = request->number > 0 ? request->number : forwards->last + 1,
                                     .told = request->number > 0,
                                     .protocol = request->protocol,
                                     .port = request->port,
                                     .cookie = cookie,
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
