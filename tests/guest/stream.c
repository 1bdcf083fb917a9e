/*
 * stream, stream-serve: one TCP stream whose every byte is checked.
 *
 * The stream is the numbers 0, 1, 2... as 64-bit words in network byte order. The server checks each word and
 * answers the end of the stream with the number of bytes that it received, as one such word. The client
 * reports each second what the peer's kernel has acknowledged, and the longest time during which that did not
 * grow: a daemon in the path that was killed shows there, and a connection that broke ends the client with
 * status 1.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "endpoint.h"
#include "probe.h"

#define CHUNK 16384 /* bytes a write, a multiple of the word */
#define TICK_MS 20

/* Fills the buffer with the stream's bytes from `offset` on, which need not be at a word's start. */
static void fill(uint8_t *buffer, size_t size, uint64_t offset) {
        for (size_t i = 0; i < size; i++, offset++)
                buffer[i] = (uint8_t)(offset / 8 >> (8 * (7 - offset % 8)));
}

static int check_stream(int fd, const char *peer) {
        uint8_t got[CHUNK], expected[CHUNK];
        uint64_t total = 0;
        ssize_t n;

        while ((n = read(fd, got, sizeof(got))) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        die_errno("stream: from %s after %llu bytes", peer, (unsigned long long)total);
                fill(expected, (size_t)n, total);
                if (memcmp(got, expected, (size_t)n) != 0)
                        die("stream: from %s wrong within %zd bytes at %llu", peer, n,
                            (unsigned long long)total);
                total += (uint64_t)n;
        }
        /* Before the client knows: who waits for it finds the line. */
        printf("stream: from %s complete, %llu bytes\n", peer, (unsigned long long)total);
        uint64_t answer = htobe64(total);
        write_whole(fd, &answer, sizeof(answer));
        return 0;
}

int stream_serve_main(int argc, char **argv) {
        if (argc != 2)
                die("stream-serve PORT");

        signal(SIGCHLD, SIG_IGN); /* children are reaped by the kernel */
        int fd = endpoint_listen(argv[1]);
        printf("stream: listening on port %s\n", argv[1]);
        for (;;) {
                char peer[INET6_ADDRSTRLEN];
                int connection = endpoint_accept(fd, peer);
                pid_t pid = fork();

                if (pid < 0)
                        die_errno("fork");
                if (pid == 0)
                        return check_stream(connection, peer);
                close(connection);
        }
}

struct client {
        int fd;
        uint64_t rate;               /* bytes a second, 0 for no limit */
        uint64_t start, reported;    /* ms */
        uint64_t sent, acknowledged; /* bytes */
        uint64_t advanced;           /* ms: when `acknowledged` grew last */
        uint64_t pause;              /* ms: the longest time that it did not */
};

/* Sends what the rate allows now, or until the socket is full. */
static void client_send(struct client *client) {
        uint8_t buffer[CHUNK];

        for (int i = 0; i < 16; i++) {
                size_t size = sizeof(buffer);
                if (client->rate > 0) {
                        uint64_t due = (now_ms() - client->start) * client->rate / 1000;
                        if (due <= client->sent)
                                return;
                        if (due - client->sent < size)
                                size = (size_t)(due - client->sent);
                }
                fill(buffer, size, client->sent);
                ssize_t n = send(client->fd, buffer, size, 0);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return;
                if (n < 0)
                        die_errno("stream: after %llu bytes", (unsigned long long)client->sent);
                client->sent += (uint64_t)n;
        }
}

/* Looks at what the peer acknowledged; prints the progress once a second. */
static void client_observe(struct client *client) {
        uint64_t now = now_ms();
        int unacknowledged;

        if (ioctl(client->fd, SIOCOUTQ, &unacknowledged) < 0)
                die_errno("SIOCOUTQ");
        uint64_t acknowledged = client->sent - (uint64_t)unacknowledged;
        /* Nothing outstanding is no pause: the rate, not the path, holds the stream back. */
        if (acknowledged > client->acknowledged || unacknowledged == 0)
                client->advanced = now;
        client->acknowledged = acknowledged;
        if (now - client->advanced > client->pause)
                client->pause = now - client->advanced;
        if (now - client->reported >= 1000) {
                client->reported = now;
                printf("stream: %llu ms, %llu bytes acknowledged, longest pause %llu ms\n",
                       (unsigned long long)(now - client->start), (unsigned long long)acknowledged,
                       (unsigned long long)client->pause);
        }
}

/* Ends the stream and compares the peer's count with ours. */
static int client_finish(struct client *client) {
        uint64_t deadline = now_ms() + 60000, answer = 0;
        size_t got = 0;

        if (shutdown(client->fd, SHUT_WR) < 0)
                die_errno("stream: shutdown");
        while (got < sizeof(answer)) {
                struct pollfd p = { .fd = client->fd, .events = POLLIN };
                uint64_t now = now_ms();

                if (now >= deadline)
                        die("stream: no count came back within a minute");
                poll(&p, 1, TICK_MS);
                client_observe(client);
                ssize_t n = recv(client->fd, (char *)&answer + got, sizeof(answer) - got, 0);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        continue;
                if (n < 0)
                        die_errno("stream: waiting for the count");
                if (n == 0)
                        die("stream: closed before its count came back");
                got += (size_t)n;
        }
        if (be64toh(answer) != client->sent)
                die("stream: sent %llu bytes, %llu arrived", (unsigned long long)client->sent,
                    (unsigned long long)be64toh(answer));
        printf("stream: ok, %llu bytes, longest pause %llu ms\n", (unsigned long long)client->sent,
               (unsigned long long)client->pause);
        return 0;
}

int stream_main(int argc, char **argv) {
        if (argc < 4 || argc > 5)
                die("stream HOST PORT SECONDS [KIB_PER_SECOND]   (SECONDS 0: until SIGTERM)");

        uint64_t duration = parse_number(argv[3], 86400) * 1000;
        struct client client = { .rate = argc > 4 ? parse_number(argv[4], 1 << 30) * 1024 : 0 };
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigprocmask(SIG_BLOCK, &set, NULL);
        int signals = signalfd(-1, &set, SFD_CLOEXEC);
        int ticks = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        const struct timespec tick = { .tv_nsec = TICK_MS * 1000000 };
        if (signals < 0 || ticks < 0)
                die_errno("signalfd, timerfd");
        timerfd_settime(ticks, 0, &(struct itimerspec){ .it_interval = tick, .it_value = tick }, NULL);

        client.fd = endpoint_connect(argv[1], argv[2], 10000);
        client.start = client.reported = client.advanced = now_ms();
        printf("stream: connected\n");
        while (duration == 0 || now_ms() - client.start < duration) {
                uint64_t expirations;
                struct pollfd p[] = {
                        { .fd = signals, .events = POLLIN },
                        { .fd = ticks, .events = POLLIN },
                        /* With a rate the ticks pace the sending, so a writable socket would only spin. */
                        { .fd = client.fd, .events = client.rate > 0 ? 0 : POLLOUT },
                };

                if (poll(p, 3, -1) < 0 && errno != EINTR)
                        die_errno("poll");
                if (p[0].revents)
                        break;
                if (p[1].revents && read(ticks, &expirations, sizeof(expirations)) > 0)
                        client_observe(&client);
                client_send(&client);
        }
        return client_finish(&client);
}
