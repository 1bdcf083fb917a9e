#include "network/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

#define PIPE_SIZE 65536
#define TURN 16 /* rounds of one direction before others have their turn */

/* Seconds. A peer that vanished without a word is noticed: an idle connection is kept, a dead one is not. */
#define KEEPALIVE_IDLE 300
#define KEEPALIVE_INTERVAL 30
#define KEEPALIVE_COUNT 5

/* One direction: from fds[i] to fds[1 - i], through a pipe, so that no byte is copied to us (splice(2)). */
struct direction {
        int reader, writer; /* the pipe's ends */
        size_t waiting; /* bytes in the pipe */
        bool at_end; /* the source's stream ended */
        bool closed; /* and the sink was told */
};

struct relay {
        int fds[2];
        struct source *sources[2];
        struct direction directions[2];
        void (*ended)(struct relay *relay, void *data);
        void *data;
};

static bool is_writable(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLOUT };

        return poll(&p, 1, 0) == 1;
}

/*
 * splice(2) from TCP stops in front of urgent data, for ever; recv(2) goes past it. The byte itself stays in its place
 * (SO_OOBINLINE), as one like the others. Bytes that an empty pipe takes at once, or -errno.
 */
static ssize_t copy_past_mark(int source, int writer) {
        char bytes[PIPE_BUF];

        ssize_t n = recv(source, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (n < 0)
                return errno == EAGAIN || errno == ENOTCONN || errno == EINTR ? 0 : -errno;
        return write(writer, bytes, (size_t)n) == n ? n : -EPIPE;
}

/* Moves what can be moved. `readable`: the source says that there is something. 0 or -errno for a connection that is
 * broken. */
static int pump(struct relay *relay, int from, bool readable) {
        struct direction *d = &relay->directions[from];
        int source = relay->fds[from], sink = relay->fds[1 - from];

        /* One that is not waited for any more has no other turn. */
        for (int round = 0; round < TURN || !relay->sources[from]; round++) {
                bool moved = false;

                if (!d->at_end && d->waiting < PIPE_SIZE) {
                        ssize_t n = splice(source, NULL, d->writer, NULL, PIPE_SIZE - d->waiting,
                                           SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
                        if (n < 0 && errno != EAGAIN && errno != ENOTCONN && errno != EINTR)
                                return -errno;
                        d->at_end = n == 0;
                        if (n < 0 && errno == EAGAIN && readable && round == 0 && d->waiting == 0) {
                                n = copy_past_mark(source, d->writer);
                                if (n < 0)
                                        return (int)n;
                        }
                        d->waiting += n > 0 ? (size_t)n : 0;
                        moved = n > 0;
                }
                if (d->waiting > 0) {
                        ssize_t n = splice(d->reader, NULL, sink, NULL, d->waiting, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
                        if (n < 0 && errno != EAGAIN && errno != ENOTCONN && errno != EINTR)
                                return -errno;
                        d->waiting -= n > 0 ? (size_t)n : 0;
                        moved |= n > 0;
                }
                /* One that is not connected yet is told once it is: shutdown(2) would give up the attempt. */
                if (d->at_end && d->waiting == 0 && !d->closed && is_writable(sink)) {
                        if (shutdown(sink, SHUT_WR) < 0)
                                return errno == ENOTCONN ? 0 : -errno;
                        d->closed = true;
                }
                if (!moved)
                        break;
        }
        return 0;
}

/*
 * What each socket is waited for follows from the pipes: one with something in it waits to be written, an empty one to
 * be filled. A hang-up is reported whatever is waited for, so a socket that has nothing more to do is waited for no
 * longer.
 */
static int set_events(struct relay *relay) {
        for (int i = 0; i < 2; i++) {
                const struct direction *in = &relay->directions[i], *out = &relay->directions[1 - i];
                uint32_t events = 0;

                if (in->at_end && out->closed)
                        relay->sources[i] = source_free(relay->sources[i]);
                if (!relay->sources[i])
                        continue;
                if (!in->at_end && in->waiting == 0)
                        events |= EPOLLIN;
                if (out->waiting > 0 || (out->at_end && !out->closed))
                        events |= EPOLLOUT;
                int r = source_set_events(relay->sources[i], events);
                if (r < 0)
                        return r;
        }
        return 0;
}

/*
 * A close without linger is a reset (socket(7)). It is what happens to both sockets whenever this process ends, by
 * whatever, until both streams have: a stream that was cut never looks like one that is complete. On other sockets than
 * TCP's these options do nothing.
 */
static void close_by_reset(int fd, bool on) {
        const struct linger linger = { .l_onoff = on, .l_linger = 0 };

        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void set_options(int fd) {
        const int on = 1, idle = KEEPALIVE_IDLE, interval = KEEPALIVE_INTERVAL, count = KEEPALIVE_COUNT;

        close_by_reset(fd, true);
        setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

static int on_event(struct source *source, int fd, uint32_t events, void *data) {
        struct relay *relay = data;
        int side = fd == relay->fds[0] ? 0 : 1;

        /* A peer that is gone both ways is a hang-up without end; what it said last is moved as the other takes it. */
        if (events & EPOLLHUP)
                relay->sources[side] = source_free(relay->sources[side]);
        /* What it said before it broke off is passed on as well. */
        int r = pump(relay, side, events & EPOLLIN);
        if (r == 0)
                r = events & EPOLLERR ? -EPIPE : pump(relay, 1 - side, false);
        if (r == 0)
                r = set_events(relay);
        bool complete = r == 0 && relay->directions[0].closed && relay->directions[1].closed;
        for (int i = 0; i < 2 && complete; i++)
                close_by_reset(relay->fds[i], false);
        if (r < 0 || complete)
                relay->ended(relay, relay->data);
        return 0;
}

static int make_direction(struct direction *direction) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        direction->reader = fds[0];
        direction->writer = fds[1];
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

        *relay = (struct relay){ .fds = { consume_a, consume_b },
                                 .directions = { { .reader = -1, .writer = -1 }, { .reader = -1, .writer = -1 } },
                                 .ended = ended, .data = data };
        int r = 0;
        for (int i = 0; i < 2 && r >= 0; i++) {
                set_options(relay->fds[i]);
                r = fd_set_nonblock(relay->fds[i], true);
                if (r >= 0)
                        r = make_direction(&relay->directions[i]);
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
                fd_close(relay->directions[i].reader);
                fd_close(relay->directions[i].writer);
        }
        free(relay);
        return NULL;
}
