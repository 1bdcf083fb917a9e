/* Terminal: raw while a console is attached, and as it was afterwards, whatever happens. */
#include "cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

/* The guard: waits for the other end of the pipe. It is in our process group, so its tcsetattr is held up by
 * SIGTTOU at most, which is blocked as all signals are. */
static void stand_guard(int pipe_fd, int terminal_fd, const struct termios *saved) {
        sigset_t all;
        char byte;
        ssize_t n;

        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        /* Whoever waits for the end of our output must not wait for the guard's. */
        if (dup2(pipe_fd, 0) < 0 || dup2(terminal_fd, 1) < 0)
                _exit(1);
        syscall(SYS_close_range, 2, ~0U, 0);
        do
                n = read(0, &byte, 1);
        while (n < 0 && errno == EINTR);
        if (n == 0)
                tcsetattr(1, TCSADRAIN, saved);
        _exit(0);
}

static int start_guard(struct terminal *terminal, int fd) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        terminal->guard = fork();
        if (terminal->guard == 0) {
                /* Numbers that dup2 does not overwrite before they were read. */
                int pipe_fd = fd_dup(fds[0]), terminal_fd = fd_dup(fd);

                close(fds[0]);
                close(fds[1]);
                if (pipe_fd < 0 || terminal_fd < 0)
                        _exit(1);
                stand_guard(pipe_fd, terminal_fd, &terminal->saved);
        }
        fd_close(fds[0]);
        if (terminal->guard < 0) {
                fd_close(fds[1]);
                return -errno;
        }
        terminal->guard_pipe = fds[1];
        return 0;
}

int terminal_enter(struct terminal *terminal, int fd, struct error *error) {
        struct termios raw;
        int r;

        if (tcgetattr(fd, &terminal->saved) < 0)
                return error_errno(error, -errno, "cannot read the terminal's settings");
        r = start_guard(terminal, fd);
        if (r < 0)
                return error_errno(error, r, "cannot guard the terminal");
        terminal->fd = fd;
        raw = terminal->saved;
        cfmakeraw(&raw);
        if (tcsetattr(fd, TCSADRAIN, &raw) < 0) {
                r = error_errno(error, -errno, "cannot set the terminal");
                terminal_leave(terminal);
                return r;
        }
        return 0;
}

void terminal_leave(struct terminal *terminal) {
        if (terminal->fd >= 0)
                tcsetattr(terminal->fd, TCSADRAIN, &terminal->saved);
        terminal->fd = -1;
        if (terminal->guard_pipe >= 0) {
                /* A guard that was killed reads nothing; a SIGPIPE is none of our caller's business then. */
                void (*before)(int) = signal(SIGPIPE, SIG_IGN);

                if (write(terminal->guard_pipe, "", 1) < 0)
                        terminal->guard_pipe = fd_close(terminal->guard_pipe);
                signal(SIGPIPE, before);
                terminal->guard_pipe = fd_close(terminal->guard_pipe);
                while (waitpid(terminal->guard, NULL, 0) < 0 && errno == EINTR)
                        continue;
        }
}
