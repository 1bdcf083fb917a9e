/* Signals: those that a command takes from a file descriptor. */
#include "cli/signals.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/signalfd.h>
#include <unistd.h>

static bool is_ignored(int number) {
        struct sigaction action;

        return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

int signals_watch(const int *numbers, size_t n, sigset_t *ret_before, struct error *error) {
        sigset_t mask;
        int fd, r;

        sigemptyset(&mask);
        for (size_t i = 0; i < n; i++)
                if (!is_ignored(numbers[i]))
                        sigaddset(&mask, numbers[i]);
        if (sigprocmask(SIG_BLOCK, &mask, ret_before) < 0)
                return error_errno(error, -errno, "cannot block signals");
        fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd >= 0)
                return fd;
        r = error_errno(error, -errno, "cannot watch signals");
        sigprocmask(SIG_SETMASK, ret_before, NULL);
        return r;
}

int signals_take(int fd) {
        struct signalfd_siginfo info;

        return read(fd, &info, sizeof(info)) == sizeof(info) ? (int)info.ssi_signo : 0;
}
