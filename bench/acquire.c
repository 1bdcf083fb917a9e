/*
 * acquire SOCKET NETWORK COUNT: acquires and releases a network COUNT times on one connection, and prints how long each
 * acquire took, from the request's first byte to the whole reply with its handle: microseconds, one a line.
 *
 * It speaks berth-protocol(7) itself, so that the figure is the broker's and the kernel's, without a JSON parser of the
 * client's. Someone else should hold the network meanwhile; each acquire is a lease of its own all the same, which the
 * network's process has seen the end of before the next begins.
 */
#include <err.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"

#define COUNT_MAX 10000000
#define WARM_UP 200 /* acquires that are not counted: caches fill, buffers grow to their size */
#define LINE_MAX_SIZE 65536 /* of the protocol */

static double now_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* One recvmsg(2) into line + used; a file descriptor that comes with it goes to *ret_fd. Bytes. */
static size_t receive(int socket, char *line, size_t used, int *ret_fd) {
        union {
                char buffer[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control;
        struct iovec iov = { .iov_base = line + used, .iov_len = LINE_MAX_SIZE - used };
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };

        ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
        if (n < 0)
                err(EXIT_FAILURE, "recvmsg");
        if (n == 0)
                errx(EXIT_FAILURE, "the broker closed the connection");
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
                memcpy(ret_fd, CMSG_DATA(header), sizeof(*ret_fd));
        return (size_t)n;
}

/* Sends a line and waits for the reply, which must begin with `expected`. The fd that came with it, or -1. */
static int exchange(int socket, const char *request, const char *expected) {
        static char line[LINE_MAX_SIZE + 1];
        size_t size = strlen(request), used = 0;
        int fd = -1;

        if (send(socket, request, size, MSG_NOSIGNAL) != (ssize_t)size)
                err(EXIT_FAILURE, "send");
        do
                used += receive(socket, line, used, &fd);
        while (line[used - 1] != '\n' && used < LINE_MAX_SIZE);
        line[used] = 0;
        if (!text_starts_with(line, expected))
                errx(EXIT_FAILURE, "the broker answered %s", line);
        return fd;
}

/* Until the network's process has closed the lease's handle, so that it does not lag behind the next acquire. */
static void await_end(int handle) {
        char byte;

        if (recv(handle, &byte, sizeof(byte), 0) > 0)
                errx(EXIT_FAILURE, "a network that speaks unasked");
}

int main(int argc, char **argv) {
        uint64_t count;

        if (argc != 4 || text_parse_u64(argv[3], COUNT_MAX, &count) < 0)
                errx(EXIT_FAILURE, "usage: acquire SOCKET NETWORK COUNT");
        char *acquire = text_format("{\"command\":\"acquire\",\"network_name\":\"%s\"}\n", argv[2]);
        char *release = text_format("{\"command\":\"release\",\"network_name\":\"%s\"}\n", argv[2]);
        double *took = calloc(count + 1, sizeof(*took));
        if (!acquire || !release || !took)
                errx(EXIT_FAILURE, "out of memory");
        int socket = fd_connect_unix(argv[1]);
        if (socket < 0)
                errx(EXIT_FAILURE, "cannot connect to %s: %s", argv[1], strerror(-socket));

        for (uint64_t i = 0; i < WARM_UP + count; i++) {
                double start = now_us();
                int handle = exchange(socket, acquire, "{\"network\"");
                double end = now_us();

                if (handle < 0)
                        errx(EXIT_FAILURE, "a reply without its handle");
                exchange(socket, release, "{\"released\"");
                await_end(handle);
                fd_close(handle); /* not before: a lease ends with its last handle, and could not be released */
                if (i >= WARM_UP)
                        took[i - WARM_UP] = end - start;
        }
        for (uint64_t i = 0; i < count; i++)
                printf("%.2f\n", took[i]);
        fd_close(socket);
        free(took);
        free(release);
        free(acquire);
        return EXIT_SUCCESS;
}
