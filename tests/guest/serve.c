/* serve: says one line to whoever connects. fetch: prints what a server says. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "endpoint.h"
#include "probe.h"

/* TEXT with each "{peer}" replaced by the client's address: so a test sees whether and how it was translated.
 */
static void say(FILE *out, const char *text, const char *peer) {
        const char *mark;

        while ((mark = strstr(text, "{peer}"))) {
                fwrite(text, 1, (size_t)(mark - text), out);
                fputs(peer, out);
                text = mark + strlen("{peer}");
        }
        fprintf(out, "%s\n", text);
}

int serve_main(int argc, char **argv) {
        if (argc != 3)
                die("serve PORT TEXT");

        int fd = endpoint_listen(argv[1]);
        printf("serve: listening on port %s\n", argv[1]);
        for (;;) {
                char peer[INET6_ADDRSTRLEN];
                int connection = endpoint_accept(fd, peer);
                FILE *out = fdopen(connection, "w");

                if (!out)
                        die_errno("fdopen");
                say(out, argv[2], peer);
                fclose(out); /* a client that went away is no matter */
        }
}

int fetch_main(int argc, char **argv) {
        if (argc < 3 || argc > 4)
                die("fetch HOST PORT [SECONDS]");

        uint64_t timeout = argc > 3 ? parse_number(argv[3], 3600) * 1000 : 15000,
                 deadline = now_ms() + timeout;
        int fd = endpoint_connect(argv[1], argv[2], (int)timeout);
        size_t total = 0;
        for (;;) {
                char buffer[4096];
                uint64_t now = now_ms();
                struct pollfd p = { .fd = fd, .events = POLLIN };

                int r = poll(&p, 1, deadline > now ? (int)(deadline - now) : 0);
                if (r < 0 && errno != EINTR)
                        die_errno("poll");
                if (r == 0)
                        die("%s port %s: no answer in time", argv[1], argv[2]);
                ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        continue;
                if (n < 0)
                        die_errno("%s port %s", argv[1], argv[2]);
                if (n == 0)
                        break;
                write_whole(STDOUT_FILENO, buffer, (size_t)n);
                total += (size_t)n;
        }
        if (total == 0)
                die("%s port %s: closed without a word", argv[1], argv[2]);
        return 0;
}
