/*
 * ask SOCKET COUNT REQUEST: asks COUNT times, each on a connection of its own as vmhost(8) has it, and prints how long
 * each took, from connect(2) to the end of the connection behind the reply: microseconds, one a line. Each reply must
 * begin with {"ok":true.
 *
 * ask --serve SOCKET REPLY: answers so, and does nothing else: what the sockets of the kernel cost by themselves.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "arguments.h"
#include "base/fd.h"
#include "base/text.h"

#define COUNT_MAX 10000000
#define WARM_UP 200 /* that are not counted */
#define REPLY_MAX 65536

static double now_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void ask(const struct sockaddr_un *address, const char *request) {
        static char reply[REPLY_MAX + 1];
        size_t size = strlen(request), used = 0;
        ssize_t n;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
                err(EXIT_FAILURE, "%s", address->sun_path);
        if (send(fd, request, size, MSG_NOSIGNAL) != (ssize_t)size)
                err(EXIT_FAILURE, "send");
        while ((n = recv(fd, reply + used, REPLY_MAX - used, 0)) > 0)
                used += (size_t)n;
        if (n < 0)
                err(EXIT_FAILURE, "recv");
        reply[used] = 0;
        if (!text_starts_with(reply, "{\"ok\":true"))
                errx(EXIT_FAILURE, "the answer is %s", reply);
        close(fd);
}

__attribute__((noreturn)) static void serve(const char *path, const char *reply) {
        static char request[REPLY_MAX];
        int listener = fd_listen_unix(path, 0600);

        if (listener < 0 || fd_set_nonblock(listener, false) < 0)
                errx(EXIT_FAILURE, "%s", path);
        puts("ready");
        fflush(stdout);
        for (;;) {
                int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

                if (fd < 0)
                        err(EXIT_FAILURE, "accept");
                if (recv(fd, request, sizeof(request), 0) > 0)
                        send(fd, reply, strlen(reply), MSG_NOSIGNAL);
                close(fd);
        }
}

int main(int argc, char **argv) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        if (argc == 4 && text_equal(argv[1], "--serve"))
                serve(argv[2], argv[3]);
        if (argc != 4)
                errx(EXIT_FAILURE, "usage: ask SOCKET COUNT REQUEST | ask --serve SOCKET REPLY");
        unsigned count = argument_number("COUNT", argv[2], COUNT_MAX);
        if (strlen(argv[1]) >= sizeof(address.sun_path))
                errx(EXIT_FAILURE, "%s is too long for the address of a socket", argv[1]);
        strcpy(address.sun_path, argv[1]);
        for (unsigned i = 0; i < WARM_UP; i++)
                ask(&address, argv[3]);
        for (unsigned i = 0; i < count; i++) {
                double begin = now_us();

                ask(&address, argv[3]);
                printf("%.1f\n", now_us() - begin);
        }
        return EXIT_SUCCESS;
}
