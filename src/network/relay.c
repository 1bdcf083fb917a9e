#include "network/relay.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

#define BUFFER_SIZE 16384

/* One direction: from ends[i] to ends[1 - i]. */
struct pipe {
        char buffer[BUFFER_SIZE];
        size_t start, end; /* what is read and not yet written */
        bool at_end; /* the reader's stream ended */
        bool closed; /* and the writer was told */
};

struct relay {
        int fds[2];
        struct source *sources[2];
        struct pipe pipes[2];
        void (*ended)(struct relay *relay, void *data);
        void *data;
};

/* Moves what can be moved. 0 or -errno for a connection that is broken. */
static int pump(struct relay *relay, int from) {
        struct pipe *pipe = &relay->pipes[from];
        int reader = relay->fds[from], writer = relay->fds[1 - from];

        for (;;) {
                if (pipe->start == pipe->end && pipe->at_end) {
                        /* Not connected yet: it is told once it is. */
                        if (!pipe->closed && shutdown(writer, SHUT_WR) < 0)
                                return errno == ENOTCONN ? 0 : -errno;
                        pipe->closed = true;
                        return 0;
                }
                if (pipe->start == pipe->end) {
                        ssize_t n = read(reader, pipe->buffer, sizeof(pipe->buffer));
                        if (n < 0)
                                return errno == EAGAIN || errno == ENOTCONN ? 0 : -errno;
                        pipe->start = 0;
                        pipe->end = (size_t)n;
                        pipe->at_end = n == 0;
                        continue;
                }
                ssize_t n = send(writer, pipe->buffer + pipe->start, pipe->end - pipe->start, MSG_NOSIGNAL);
                if (n < 0)
                        return errno == EAGAIN || errno == ENOTCONN ? 0 : -errno;
                pipe->start += (size_t)n;
        }
}

/*
 * What each socket is waited for follows from the pipes: a full one waits to write, an empty one to read. A hang-up
 * is reported whatever is waited for, so a socket that has nothing more to do is waited for no longer.
 */
static int set_events(struct relay *relay) {
        for (int i = 0; i < 2; i++) {
                const struct pipe *in = &relay->pipes[i], *out = &relay->pipes[1 - i];
                uint32_t events = 0;

                if (in->at_end && out->closed)
                        relay->sources[i] = source_free(relay->sources[i]);
                if (!relay->sources[i])
                        continue;
                if (in->start == in->end && !in->at_end)
                        events |= EPOLLIN;
                if (out->start < out->end || (out->at_end && !out->closed))
                        events |= EPOLLOUT;
                int r = source_set_events(relay->sources[i], events);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int on_event(struct source *source, int fd, uint32_t events, void *data) {
        struct relay *relay = data;

        int r = (events & EPOLLERR) ? -EPIPE : pump(relay, 0);
        if (r == 0)
                r = pump(relay, 1);
        if (r == 0)
                r = set_events(relay);
        if (r < 0 || (relay->pipes[0].closed && relay->pipes[1].closed))
                relay->ended(relay, relay->data);
        return 0;
}

int relay_new(struct relay **ret, struct loop *loop, int consume_a, int consume_b,
              void (*ended)(struct relay *relay, void *data), void *data) {
        struct relay *relay = calloc(1, sizeof(*relay));
        if (!relay) {
                fd_close(consume_a);
                fd_close(consume_b);
                return -ENOMEM;
        }

        relay->fds[0] = consume_a;
        relay->fds[1] = consume_b;
        relay->ended = ended;
        relay->data = data;
        int r = 0;
        for (int i = 0; i < 2 && r >= 0; i++) {
                r = fd_set_nonblock(relay->fds[i], true);
                if (r >= 0)
                        r = loop_add_fd(loop, &relay->sources[i], relay->fds[i], EPOLLIN, on_event, relay);
        }
        if (r < 0) {
                relay_free(relay);
                return r;
        }
        *ret = relay;
        return 0;
}

struct relay *relay_free(struct relay *relay) {
        if (!relay)
                return NULL;
        for (int i = 0; i < 2; i++) {
                source_free(relay->sources[i]);
                fd_close(relay->fds[i]);
        }
        free(relay);
        return NULL;
}
