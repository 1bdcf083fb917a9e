#include "vmhost/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "vmhost/confine.h"

enum step { STEP_FORK, STEP_SESSION, STEP_FDS, STEP_CONFINE, STEP_EXECUTE };

static const char *const step_texts[] = {
        [STEP_FORK] = "cannot make a process",          [STEP_SESSION] = "cannot make a session",
        [STEP_FDS] = "cannot pass on file descriptors", [STEP_CONFINE] = "cannot confine it",
        [STEP_EXECUTE] = "cannot execute it",
};

/* What the child reports before it gives up. */
struct failure {
        enum step step;
        int error;
};

static int reset_signals(void) {
        sigset_t none;

        /* SIGKILL, SIGSTOP and what the C library keeps for itself refuse, as they should. */
        for (int i = 1; i < NSIG; i++)
                signal(i, SIG_DFL);
        sigemptyset(&none);
        return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : 0;
}

static int arrange_fds(const struct spawn *spawn, int null) {
        if (dup2(null, STDIN_FILENO) < 0 || dup2(spawn->log, STDOUT_FILENO) < 0 ||
            dup2(spawn->log, STDERR_FILENO) < 0)
                return -errno;
        for (size_t i = 0; i < spawn->n_fds; i++) {
                int r = fd_set_cloexec(spawn->fds[i], false);
                if (r < 0)
                        return r;
        }
        return 0;
}

/*
 * From fork to exec: other threads' locks may be held here for ever, so only async-signal-safe functions
 * (signal-safety(7)). Returns on failure alone, with the step in *ret_step.
 */
static int become(const struct spawn *spawn, int null, enum step *ret_step) {
        int r;

        *ret_step = STEP_SESSION;
        if (setsid() < 0)
                return -errno;
        umask(077);
        r = reset_signals();
        if (r < 0)
                return r;
        *ret_step = STEP_FDS;
        r = arrange_fds(spawn, null);
        if (r < 0)
                return r;
        *ret_step = STEP_CONFINE;
        r = spawn->confined ? confine_enter(spawn->ruleset) : 0;
        if (r < 0)
                return r;
        *ret_step = STEP_EXECUTE;
        execv(spawn->arguments[0], spawn->arguments);
        return -errno;
}

/* What a child that waits to be placed needs, a new array. As long as systemd likes, the rest would keep open what its
 * parent closes: the pipe that its starter reads to the end, connections that were answered, the lock. */
static int *list_needed(const struct spawn *spawn, int null, int report, int gate, size_t *ret_n) {
        const int own[] = { null, report, gate, spawn->log, spawn->ruleset };
        int *fds = reallocarray(NULL, ARRAY_SIZE(own) + spawn->n_fds, sizeof(*fds));

        if (!fds)
                return NULL;
        memcpy(fds, own, sizeof(own));
        if (spawn->n_fds > 0)
                memcpy(fds + ARRAY_SIZE(own), spawn->fds, spawn->n_fds * sizeof(*fds));
        *ret_n = ARRAY_SIZE(own) + spawn->n_fds;
        return fds;
}

/* Until the parent has placed us; its end of the pipe closes without a word when it could not, or is gone. */
static void await_place(int gate) {
        char go;
        ssize_t n;

        do
                n = read(gate, &go, 1);
        while (n < 0 && errno == EINTR);
        if (n != 1)
                _exit(126);
}

__attribute__((noreturn)) static void run_child(const struct spawn *spawn, int null, int report, int gate) {
        struct failure failure = { STEP_FORK, 0 };

        if (spawn->place)
                await_place(gate);
        pid_t grandchild = spawn->orphan ? fork() : 0;

        if (grandchild > 0)
                _exit(0);
        failure.error = grandchild < 0 ? -errno : become(spawn, null, &failure.step);
        /* A write that fails leaves the parent in the belief that all is well; a pipe this empty takes it. */
        _exit(write(report, &failure, sizeof(failure)) == sizeof(failure) ? 127 : 126);
}

/* The end of the pipe closes with a successful exec. */
static int await_exec(int report, const char *program, struct error *error) {
        struct failure failure;
        ssize_t n;

        do
                n = read(report, &failure, sizeof(failure));
        while (n < 0 && errno == EINTR);
        if (n == 0)
                return 0;
        if (n != sizeof(failure))
                return error_set(error, -EIO, "cannot start %s", program);
        return error_errno(error, failure.error, "cannot start %s: %s", program, step_texts[failure.step]);
}

static int place(const struct spawn *spawn, pid_t pid, int gate, struct error *error) {
        int r = spawn->place(pid, spawn->data, error);

        if (r < 0)
                return r;
        return write(gate, "", 1) == 1 ? 0
                                       : error_errno(error, -errno, "cannot start %s", spawn->arguments[0]);
}

int spawn_run(const struct spawn *spawn, pid_t *ret_pid, struct error *error) {
        const char *program = spawn->arguments[0];
        int fds[2], gates[2];

        _cleanup_fd_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (null < 0 || pipe2(fds, O_CLOEXEC) < 0)
                return error_errno(error, -errno, "cannot start %s", program);
        _cleanup_fd_ int report = fds[0], reports = fds[1];
        if (pipe2(gates, O_CLOEXEC) < 0)
                return error_errno(error, -errno, "cannot start %s", program);
        _cleanup_fd_ int gate = gates[0], opener = gates[1];
        size_t n_needed = 0;
        _cleanup_free_ int *needed = list_needed(spawn, null, reports, gate, &n_needed);
        if (!needed)
                return error_errno(error, -ENOMEM, "cannot start %s", program);

        pid_t pid = fork();
        if (pid < 0)
                return error_errno(error, -errno, "cannot start %s: %s", program, step_texts[STEP_FORK]);
        if (pid == 0) {
                fd_close(opener); /* also where close_range is refused: else the gate never ends */
                if (spawn->place)
                        fd_close_others(STDERR_FILENO + 1, needed, n_needed);
                run_child(spawn, null, reports, gate);
        }

        reports = fd_close(reports);
        gate = fd_close(gate); /* so that a child that is gone is noticed */
        int r = spawn->place ? place(spawn, pid, opener, error) : 0;
        opener = fd_close(opener);
        if (r == 0)
                r = await_exec(report, program, error);
        if (r < 0 || spawn->orphan)
                while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        if (r == 0 && ret_pid)
                *ret_pid = pid;
        return r;
}
