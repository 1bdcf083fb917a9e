#include "network/resolver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "network/nameservers.h"
#include "network/relay.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define QUERIES_MAX 256
#define STREAMS_MAX 32
#define MESSAGE_MAX 65535 /* of UDP */
#define PATIENCE 5000000ULL /* microseconds for an answer: dnsmasq itself gives up and asks again */
#define STREAM_PATIENCE 30000000ULL

struct query {
        struct list entry;
        struct resolver *resolver;
        int fd; /* of the host's namespace, connected to the name server */
        size_t server; /* which one */
        struct sockaddr_in client;
        struct source *source, *timer;
};

struct stream {
        struct list entry;
        struct resolver *resolver;
        struct relay *relay;
        struct source *timer;
};

struct resolver {
        struct loop *loop;
        struct outpost *outpost;
        struct nameservers nameservers;
        int udp, tcp;
        struct source *udp_source, *tcp_source;
        struct list queries, streams;
        size_t n_queries, n_streams;
};

static void query_free(struct query *query) {
        list_unlink(&query->entry);
        query->resolver->n_queries--;
        source_free(query->source);
        source_free(query->timer);
        fd_close(query->fd);
        free(query);
}

static int on_answer(struct source *source, int fd, uint32_t events, void *data) {
        struct query *query = data;
        char message[MESSAGE_MAX];

        ssize_t n = recv(fd, message, sizeof(message), 0);
        if (n > 0)
                sendto(query->resolver->udp, message, (size_t)n, 0, (struct sockaddr *)&query->client,
                       sizeof(query->client));
        else if (n < 0 && errno == EAGAIN)
                return 0;
        else
                nameservers_skip(&query->resolver->nameservers, query->server); /* refused, or no route */
        query_free(query);
        return 0;
}

static int on_silence(struct source *source, void *data) {
        struct query *query = data;

        nameservers_skip(&query->resolver->nameservers, query->server);
        query_free(query);
        return 0;
}

/* Connects, or begins to. A link's name is looked up where the socket is. 0 or -errno. */
static int connect_to(int fd, const struct nameserver *server) {
        struct sockaddr_storage address = server->address;
        struct ifreq ifr = {};

        if (*server->zone) {
                strcpy(ifr.ifr_name, server->zone);
                if (ioctl(fd, SIOCGIFINDEX, &ifr) < 0)
                        return -errno;
                ((struct sockaddr_in6 *)&address)->sin6_scope_id = (uint32_t)ifr.ifr_ifindex;
        }
        return connect(fd, (const struct sockaddr *)&address, server->size) < 0 && errno != EINPROGRESS ? -errno : 0;
}

/* A socket of the host's namespace, connected (or connecting) to the preferred name server: the fd or -errno. */
static int open_upstream(struct resolver *resolver, int type) {
        struct nameservers *nameservers = &resolver->nameservers;

        nameservers_refresh(nameservers, RESOLV_CONF);
        if (nameservers->n == 0)
                return -ENOENT;

        const struct nameserver *server = &nameservers->servers[nameservers->preferred];
        _cleanup_fd_ int fd = outpost_socket(resolver->outpost, server->address.ss_family, type, 0);
        if (fd < 0)
                return fd;
        int r = connect_to(fd, server);
        if (r < 0) {
                nameservers_skip(nameservers, nameservers->preferred);
                return r;
        }
        return steal_fd(&fd);
}

static void ask(struct resolver *resolver, const char *message, size_t size, const struct sockaddr_in *client) {
        int fd = open_upstream(resolver, SOCK_DGRAM);
        if (fd < 0)
                return; /* dnsmasq asks again, and answers SERVFAIL in the end */

        struct query *query = calloc(1, sizeof(*query));
        if (!query) {
                fd_close(fd);
                return;
        }
        *query = (struct query){ .resolver = resolver, .fd = fd, .server = resolver->nameservers.preferred,
                                  .client = *client };
        list_append(&resolver->queries, &query->entry);
        resolver->n_queries++;
        if (loop_add_fd(resolver->loop, &query->source, fd, EPOLLIN, on_answer, query) < 0 ||
            loop_add_timer(resolver->loop, &query->timer, on_silence, query) < 0) {
                query_free(query);
                return;
        }
        source_arm(query->timer, PATIENCE);
        if (send(fd, message, size, MSG_NOSIGNAL) < 0) {
                nameservers_skip(&resolver->nameservers, query->server);
                query_free(query);
        }
}

static int on_query(struct source *source, int fd, uint32_t events, void *data) {
        struct resolver *resolver = data;
        char message[MESSAGE_MAX];

        while (resolver->n_queries < QUERIES_MAX) {
                struct sockaddr_in client;
                socklen_t client_size = sizeof(client);
                ssize_t n = recvfrom(fd, message, sizeof(message), 0, (struct sockaddr *)&client, &client_size);
                if (n < 0)
                        return 0;
                ask(resolver, message, (size_t)n, &client);
        }
        /* Full: what comes beyond is dropped, as UDP may be, for a level-triggered loop would spin on it. */
        while (recv(fd, message, sizeof(message), 0) >= 0)
                ;
        return 0;
}

static void stream_free(struct stream *stream) {
        list_unlink(&stream->entry);
        stream->resolver->n_streams--;
        relay_free(stream->relay);
        source_free(stream->timer);
        free(stream);
}

static void on_stream_ended(struct relay *relay, void *data) {
        stream_free(data);
}

static int on_stream_silence(struct source *source, void *data) {
        stream_free(data);
        return 0;
}

static int on_connection(struct source *source, int fd, uint32_t events, void *data) {
        struct resolver *resolver = data;

        _cleanup_fd_ int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (client < 0 || resolver->n_streams == STREAMS_MAX)
                return 0;
        int upstream = open_upstream(resolver, SOCK_STREAM);
        if (upstream < 0)
                return 0;

        struct stream *stream = calloc(1, sizeof(*stream));
        if (!stream) {
                fd_close(upstream);
                return 0;
        }
        stream->resolver = resolver;
        list_append(&resolver->streams, &stream->entry);
        resolver->n_streams++;
        if (relay_new(&stream->relay, resolver->loop, steal_fd(&client), upstream, on_stream_ended, stream) < 0 ||
            loop_add_timer(resolver->loop, &stream->timer, on_stream_silence, stream) < 0) {
                stream_free(stream);
                return 0;
        }
        source_arm(stream->timer, STREAM_PATIENCE);
        return 0;
}

static int open_listener(int type, struct error *error) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(RESOLVER_PORT),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int one = 1;

        _cleanup_fd_ int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
            bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
            (type == SOCK_STREAM && listen(fd, STREAMS_MAX) < 0))
                return error_errno(error, -errno, "listening for DNS queries on 127.0.0.1, port %d, of the network",
                                   RESOLVER_PORT);
        return steal_fd(&fd);
}

int resolver_new(struct resolver **ret, struct loop *loop, struct outpost *outpost, struct error *error) {
        struct resolver *resolver = calloc(1, sizeof(*resolver));
        if (!resolver)
                return -ENOMEM;

        *resolver = (struct resolver){ .loop = loop, .outpost = outpost, .udp = -1, .tcp = -1 };
        list_init(&resolver->queries);
        list_init(&resolver->streams);

        int r = resolver->udp = open_listener(SOCK_DGRAM, error);
        if (r >= 0)
                r = resolver->tcp = open_listener(SOCK_STREAM, error);
        if (r >= 0)
                r = loop_add_fd(loop, &resolver->udp_source, resolver->udp, EPOLLIN, on_query, resolver);
        if (r >= 0)
                r = loop_add_fd(loop, &resolver->tcp_source, resolver->tcp, EPOLLIN, on_connection, resolver);
        if (r < 0) {
                resolver_free(resolver);
                return r;
        }
        *ret = resolver;
        return 0;
}

struct resolver *resolver_free(struct resolver *resolver) {
        if (!resolver)
                return NULL;
        list_for_each(struct query, query, &resolver->queries, entry)
                query_free(query);
        list_for_each(struct stream, stream, &resolver->streams, entry)
                stream_free(stream);
        source_free(resolver->udp_source);
        source_free(resolver->tcp_source);
        fd_close(resolver->udp);
        fd_close(resolver->tcp);
        free(resolver);
        return NULL;
}
