#include "vmhost/detach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

/* The starter's part: until all is told, which is "STATUS REASON". */
static __attribute__((noreturn)) void wait_for_word(int fd, pid_t middle, const char *log) {
        char text[1024];
        size_t size = 0;
        ssize_t n;
        char *reason;
        int status;

        while (size < sizeof(text) - 1) {
                n = read(fd, text + size, sizeof(text) - 1 - size);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        break;
                size += (size_t)n;
        }
        while (size > 0 && text[size - 1] == '\n')
                size--;
        text[size] = '\0';
        waitpid(middle, NULL, 0);
        if (!text[0]) {
                fprintf(stderr, "vmhost: ended without a word; see %s\n", log);
                _exit(EXIT_FAILURE);
        }
        status = (int)strtol(text, &reason, 10);
        if (status != EXIT_SUCCESS)
                fprintf(stderr, "vmhost:%s\n", reason);
        _exit(status);
}

int detach(const char *log, int lock, int *ret_ready_fd, struct error *error) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_errno(error, -errno, "cannot make a pipe");
        fflush(NULL);
        pid_t middle = fork();
        if (middle < 0) {
                int r = -errno;
                fd_close(fds[0]);
                fd_close(fds[1]);
                return error_errno(error, r, "cannot fork");
        }
        if (middle > 0) {
                fd_close(fds[1]);
                fd_close(lock);
                wait_for_word(fds[0], middle, log);
        }
        fd_close(fds[0]);
        /* Away from the terminal's session, then from being its leader. */
        setsid();
        pid_t last = fork();
        if (last < 0) {
                dprintf(fds[1], "%d cannot fork: %s\n", EXIT_FAILURE, strerror(errno));
                _exit(EXIT_FAILURE);
        }
        if (last > 0)
                _exit(EXIT_SUCCESS);
        if (chdir("/") < 0)
                return error_errno(error, -errno, "cannot leave the working directory");
        *ret_ready_fd = fds[1];
        return 0;
}

void detach_tell(int *ready_fd, int status, const char *line) {
        if (*ready_fd >= 0)
                dprintf(*ready_fd, "%d %s\n", status, line);
        *ready_fd = fd_close(*ready_fd);
}

int detach_redirect(const char *log, long max, struct error *error) {
        struct stat status;

        _cleanup_fd_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0)
                return error_errno(error, -errno, "cannot open /dev/null");
        _cleanup_fd_ int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return error_errno(error, -errno, "cannot write to %s", log);
        if (fstat(fd, &status) == 0 && status.st_size > max && ftruncate(fd, 0) < 0)
                return error_errno(error, -errno, "cannot shorten %s", log);
        if (dup2(null, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
                return error_errno(error, -errno, "cannot log to %s", log);
        return 0;
}
