/* Output: standard output whose reader may have stopped reading. */
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"

int output_open(void) {
        int fd;

        fflush(stdout);
        fd = isatty(STDOUT_FILENO) ? open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
                                   : -1;

        /* The terminal may be another user's, as after su(1). */
        return fd >= 0 ? fd : fd_dup(STDOUT_FILENO);
}

int output_write(int fd, const char *data, size_t size, int stop_fd) {
        while (size > 0) {
                struct pollfd pollfds[] = {
                        { .fd = fd, .events = POLLOUT },
                        { .fd = stop_fd, .events = POLLIN },
                };
                ssize_t n;

                if (poll(pollfds, 2, -1) < 0) {
                        if (errno != EINTR)
                                return -errno;
                        continue;
                }
                if (pollfds[1].revents)
                        return 1;
                n = write(fd, data, size < OUTPUT_BLOCK ? size : OUTPUT_BLOCK);
                if (n < 0 && errno != EINTR && errno != EAGAIN)
                        return -errno;
                if (n > 0) {
                        data += n;
                        size -= (size_t)n;
                }
        }
        return 0;
}
