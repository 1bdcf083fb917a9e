/*
 * Clients that break the rules of berth-protocol(7): berth-rude KIND SOCKET [NUMBER]. Each prints what it got, and
 * those that are to stay in the way print `staying` and do.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"

#define LIST "{\"command\":\"list\"}\n"
#define STUCK_MS 1500 /* a socket that takes nothing for so long will take nothing any more */
#define PATIENCE 20 /* seconds that a reply may take */

_Noreturn static void die(const char *what) {
        fprintf(stderr, "berth-rude: %s: %s\n", what, strerror(errno));
        exit(1);
}

_Noreturn static void stay(void) {
        printf("staying\n");
        for (;;)
                pause();
}

static int connect_to(const char *path) {
        const struct timeval patience = { .tv_sec = PATIENCE };
        int fd = fd_connect_unix(path);

        if (fd < 0) {
                errno = -fd;
                die(path);
        }
        if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
                die("setsockopt");
        return fd;
}

/* A line, shortened; false at the end. */
static bool print_line(int fd) {
        char line[200];
        size_t n = 0;
        char c;
        ssize_t got;

        while ((got = read(fd, &c, 1)) == 1 && c != '\n')
                if (n < sizeof(line) - 1)
                        line[n++] = c;
        line[n] = 0;
        if (n > 0)
                printf("%s\n", line);
        return got == 1;
}

static void print_to_end(int fd) {
        errno = 0;
        while (print_line(fd))
                ;
        printf("%s\n", errno == EAGAIN ? "no reply" : "closed");
}

/* Half a line, and nothing more. */
static void half(const char *path, unsigned number) {
        if (write(connect_to(path), LIST, 7) != 7)
                die("write");
        stay();
}

static void silent(const char *path, unsigned number) {
        connect_to(path);
        stay();
}

/* NUMBER bytes without a newline. */
static void endless(const char *path, unsigned number) {
        int fd = connect_to(path);
        char block[4096];
        size_t sent = 0;

        memset(block, 'x', sizeof(block));
        while (sent < number) {
                ssize_t n = send(fd, block, sizeof(block), MSG_NOSIGNAL);
                if (n < 0)
                        break; /* closed already, as it may be */
                sent += (size_t)n;
        }
        print_to_end(fd);
}

/* A good request with up to 253 fds (the kernel's limit for one message) on its first byte. False where the kernel
 * refuses them. */
static bool send_with_fds(int fd, size_t n_fds) {
        union {
                char space[CMSG_SPACE(253 * sizeof(int))];
                struct cmsghdr align;
        } control = {};
        struct iovec iov = { .iov_base = (char *)LIST, .iov_len = strlen(LIST) };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space,
                                  .msg_controllen = CMSG_SPACE(n_fds * sizeof(int)) };
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);

        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        for (size_t i = 0; i < n_fds; i++)
                memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof(fd));
        if (sendmsg(fd, &message, 0) >= 0)
                return true;
        if (errno != EPERM)
                die("sendmsg");
        return false;
}

/* NUMBER fds in all, and then a good request on the same connection. */
static void fds(const char *path, unsigned number) {
        int fd = connect_to(path);

        while (number > 0) {
                unsigned n = number < 253 ? number : 253;

                number -= n;
                if (send_with_fds(fd, n))
                        print_line(fd);
                else
                        puts("{\"error\":4,\"message\":\"none is let through\"}");
        }
        if (write(fd, LIST, strlen(LIST)) < 0)
                die("write");
        print_line(fd);
}

/* Requests without end, and not one reply read. */
static void deaf(const char *path, unsigned number) {
        int fd = connect_to(path);
        unsigned sent = 0;

        fd_set_nonblock(fd, true);
        for (;;) {
                struct pollfd p = { .fd = fd, .events = POLLOUT };

                if (poll(&p, 1, STUCK_MS) == 0)
                        break;
                ssize_t n = send(fd, LIST, strlen(LIST), MSG_NOSIGNAL);
                if (n < 0 && errno != EAGAIN) {
                        printf("closed after %u requests\n", sent);
                        return;
                }
                sent += n > 0;
        }
        printf("stuck after %u requests\n", sent);
        stay();
}

/* NUMBER random bytes, many of them newlines. */
static void noise(const char *path, unsigned number) {
        static const char alphabet[] = "{}[]\":,\n\n\\u0eE+-. \xff\xc3" "command";
        int fd = connect_to(path);
        unsigned replies = 0;
        char c;

        srandom(number);
        for (unsigned i = 0; i < number; i++) {
                c = alphabet[(size_t)random() % sizeof(alphabet)];
                if (send(fd, &c, 1, MSG_NOSIGNAL) < 0)
                        break;
                while (recv(fd, &c, 1, MSG_DONTWAIT) == 1)
                        replies += c == '\n';
        }
        shutdown(fd, SHUT_WR);
        while (recv(fd, &c, 1, 0) == 1)
                replies += c == '\n';
        printf("%s after noise\n", replies > 0 ? "answered" : "silence");
}

/* Up to NUMBER connections that are used once each and stay; none behind the first that is refused. */
static void crowd(const char *path, unsigned number) {
        unsigned served = 0;

        for (unsigned i = 0; i < number; i++) {
                char reply[16] = "";
                int fd = connect_to(path);

                if (send(fd, LIST, strlen(LIST), MSG_NOSIGNAL) < 0 && errno != EPIPE)
                        die("send");
                if (recv(fd, reply, sizeof(reply) - 1, 0) <= 0)
                        die("recv");
                if (strncmp(reply, "{\"error\":", 9) == 0) {
                        printf("%u served, then %s\n", served, reply);
                        stay();
                }
                served++;
        }
        printf("%u served\n", served);
        stay();
}

/* NUMBER connections, each with another beginning of a request of vmhost(8), which all stay. Those that get no further,
 * as the other side closed them, have done what they can. */
static void stall(const char *path, unsigned number) {
        static const char *const beginnings[] = { "", " ", "{\"method\":\"sta", "{\"method\":\"wait\"}\n",
                                                  "{\"method\":\"events\"}\n" };

        for (unsigned i = 0; i < number; i++) {
                const char *beginning = beginnings[i % ARRAY_SIZE(beginnings)];
                int fd = connect_to(path);

                if (send(fd, beginning, strlen(beginning), MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
                        die("send");
        }
        stay();
}

int main(int argc, char **argv) {
        static const struct {
                const char *name;
                void (*fn)(const char *path, unsigned number);
        } kinds[] = {
                { "half", half }, { "silent", silent }, { "endless", endless }, { "fds", fds },
                { "deaf", deaf }, { "noise", noise },   { "crowd", crowd },     { "stall", stall },
        };

        setvbuf(stdout, NULL, _IOLBF, 0);
        for (size_t i = 0; argc >= 3 && i < ARRAY_SIZE(kinds); i++)
                if (strcmp(argv[1], kinds[i].name) == 0) {
                        kinds[i].fn(argv[2], argc > 3 ? (unsigned)atoi(argv[3]) : 0);
                        return 0;
                }
        fprintf(stderr, "Usage: berth-rude half|silent|endless|fds|deaf|noise|crowd|stall SOCKET [NUMBER]\n");
        return 2;
}
