#include "base/elsewhere.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"

/* By way of a child that ends at once and leaves its own to init. That child closes the others, while the caller, which
 * waits for it, has them yet: a close that might be the last would be waited for, as the end of a process is not. */
int elsewhere_fork(const int *kept, size_t n) {
        int status;

        pid_t pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                fd_close_others(0, kept, n);
                pid = fork();
                if (pid == 0)
                        return 0;
                _exit(pid < 0 ? 1 : 0);
        }
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 1 : -EAGAIN;
}

/* Whether nothing can make its close last. */
static bool closes_at_once(int fd) {
        int domain = 0, protocol = 0;
        socklen_t size = sizeof(int);
        char byte;

        if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 ||
            getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) < 0)
                return true; /* no socket, and so one of our own */
        /* An end of the stream with nothing before it: there is no queue, and there will be none. */
        if (domain == AF_UNIX)
                return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
        return protocol == IPPROTO_UDP;
}

/* A child with copies of them, which ends with the last copy of `hold`, a pipe. */
static void keep_copies(const int *fds, size_t n, const int hold[static 2]) {
        _cleanup_free_ int *kept = reallocarray(NULL, n + 1, sizeof(*kept));
        char byte;

        if (!kept)
                return;
        memcpy(kept, fds, n * sizeof(*kept));
        kept[n] = hold[0];
        if (elsewhere_fork(kept, n + 1) != 0)
                return;
        fd_close(hold[1]); /* also where there is no close_range(2) */
        while (read(hold[0], &byte, 1) < 0 && errno == EINTR)
                ;
        _exit(0);
}

void elsewhere_close_all(int *fds, size_t n) {
        int saved = errno, hold[2] = { -1, -1 };
        size_t n_left = 0;

        for (size_t i = 0; i < n; i++) {
                if (fds[i] >= 0 && closes_at_once(fds[i]))
                        fds[i] = fd_close(fds[i]);
                n_left += fds[i] >= 0;
        }
        if (n_left > 0 && pipe2(hold, O_CLOEXEC) == 0)
                keep_copies(fds, n, hold);
        for (size_t i = 0; i < n; i++)
                fds[i] = fd_close(fds[i]);
        fd_close(hold[0]);
        fd_close(hold[1]);
        errno = saved;
}

int elsewhere_close(int fd) {
        elsewhere_close_all(&fd, 1);
        return fd;
}

void elsewhere_closep(int *fd) {
        *fd = elsewhere_close(*fd);
}
