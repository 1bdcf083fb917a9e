/*
 * What launch.c starts in its test, in berthd's place: takes the same arguments, listens, says that it is
 * ready, and ends when a client says so.
 *
 * STANDIN_DIRECTORY is where its socket (broker.sock) and its log of starts (starts) are, STANDIN_SESSION its
 * caller's session. STANDIN_FAILURE makes it fail: "text" with a reason, "silent" without.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

/* A line per start, with what matters of the state in which the program was started. */
static void note_start(const char *directory, char **argv) {
        char path[4096], line[256];
        const char *session = getenv("STANDIN_SESSION");
        bool stdio = fcntl(0, F_GETFD) >= 0 && fcntl(1, F_GETFD) >= 0 && fcntl(2, F_GETFD) >= 0;
        int fd, n;

        snprintf(path, sizeof(path), "%s/starts", directory);
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        n = snprintf(line, sizeof(line), "%s session=%s stdio=%s notify=%s inherited=%s\n", argv[1],
                     session && getsid(0) != atoi(session) ? "own" : "caller's", stdio ? "open" : "closed",
                     getenv("NOTIFY_SOCKET") ? "set" : "unset", fcntl(9, F_GETFD) >= 0 ? "open" : "closed");
        if (fd < 0 || write(fd, line, (size_t)n) != n)
                exit(1);
        close(fd);
}

int main(int argc, char **argv) {
        const char *directory = getenv("STANDIN_DIRECTORY"), *failure = getenv("STANDIN_FAILURE");
        char path[4096], order = 0;
        int ready_fd, listener;

        if (argc != 4 || strcmp(argv[2], "--ready-fd") != 0 || !directory)
                return 1;
        ready_fd = atoi(argv[3]);
        note_start(directory, argv);
        if (failure && strcmp(failure, "text") == 0)
                return write(ready_fd, "no room\n", 8) == 8 ? 1 : 2;
        if (failure) {
                fprintf(stderr, "to the log\n");
                return 1;
        }

        snprintf(path, sizeof(path), "%s/broker.sock", directory);
        unlink(path);
        listener = fd_listen_unix(path, 0600);
        if (listener < 0 || fd_set_nonblock(listener, false) < 0 || write(ready_fd, "ready\n", 6) != 6)
                return 1;
        close(ready_fd);
        while (order != 'q') {
                int client = accept(listener, NULL, NULL);

                if (client < 0 || read(client, &order, 1) < 0)
                        return 1;
                if (order == 'q')
                        unlink(path); /* before the client sees the end */
                close(client);
        }
        return 0;
}
