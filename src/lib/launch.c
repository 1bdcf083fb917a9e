/* Launch: starts a broker where none runs, once, whoever asks for it at the same time. */
#include "lib/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "config.h"
#include "lib/deadline.h"

#define READY_TIMEOUT_MS 10000
#define LOG_MAX (1024 * 1024) /* bytes; a longer log is begun anew */
#define READY_FD 3 /* its number in the broker */

/* All that the child needs, made before the fork: in a process with threads it may not even allocate. */
struct plan {
        char *program;
        char *argv[5];
        char **environment; /* the array is ours, its strings are borrowed */
        int null_fd;
        int log_fd;
        int ready_fd;
};

static void plan_deinit(struct plan *plan) {
        free(plan->program);
        free(plan->environment);
        fd_close(plan->null_fd);
        fd_close(plan->log_fd);
        fd_close(plan->ready_fd);
}

static char *find_program(const char *program) {
        const char *named = secure_getenv("BERTH_BROKER");
        char *installed;

        if (named && named[0])
                return strdup(named);
        if (program)
                return strdup(program);
        installed = process_find_program("berthd", BERTH_BINDIR);
        return installed ? installed : process_find_program("berthd", NULL);
}

/*
 * The caller's environment less what concerns the caller alone: were the caller a service, the broker would
 * report its own readiness as the caller's, take over its sockets, or write its log as if it were the
 * journal.
 */
static char **copy_environment(void) {
        static const char *const dropped[] = { "NOTIFY_SOCKET=",  "LISTEN_FDS=",     "LISTEN_PID=",
                                               "LISTEN_FDNAMES=", "JOURNAL_STREAM=", "WATCHDOG_PID=",
                                               "WATCHDOG_USEC=" };
        size_t n = 0, used = 0;
        char **copy;

        while (environ && environ[n])
                n++;
        copy = calloc(n + 1, sizeof(*copy));
        for (size_t i = 0; copy && i < n; i++) {
                bool keep = true;

                for (size_t j = 0; j < ARRAY_SIZE(dropped); j++)
                        keep = keep && !text_starts_with(environ[i], dropped[j]);
                if (keep)
                        copy[used++] = environ[i];
        }
        return copy;
}

static int open_log(const char *path, struct error *error) {
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        struct stat st;

        if (fd < 0)
                return error_errno(error, -errno, "cannot open the broker's log %s", path);
        if (fstat(fd, &st) == 0 && st.st_size > LOG_MAX && ftruncate(fd, 0) < 0) {
                int r = error_errno(error, -errno, "cannot shorten the broker's log %s", path);

                fd_close(fd);
                return r;
        }
        return fd;
}

static int plan_init(struct plan *plan, const struct place *place, const char *program, const char *log_path,
                     struct error *error) {
        plan->program = find_program(program);
        if (!plan->program)
                return error_set(
                        error, -ENOENT,
                        "the broker's program, berthd, is neither in %s nor in PATH: install it, or set "
                        "BERTH_BROKER to its path",
                        BERTH_BINDIR);
        plan->environment = copy_environment();
        if (!plan->environment)
                return error_set(error, -ENOMEM, "out of memory");
        plan->argv[0] = plan->program;
        plan->argv[1] = place->system ? (char *)"--system" : (char *)"--user";
        plan->argv[2] = (char *)"--ready-fd";
        plan->argv[3] = (char *)"3"; /* READY_FD */

        plan->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (plan->null_fd < 0)
                return error_errno(error, -errno, "cannot open /dev/null");
        plan->log_fd = open_log(log_path, error);
        return plan->log_fd < 0 ? plan->log_fd : 0;
}

/* Runs in the child of a child; does not return. Only async-signal-safe calls. */
static void plan_execute(const struct plan *plan) {
        struct sigaction action = { .sa_handler = SIG_DFL };
        const char *reason;
        sigset_t none;
        int ready_fd = fcntl(plan->ready_fd, F_DUPFD, READY_FD + 1); /* dup2 is about to replace 0 to 3 */

        for (int signal = 1; signal < NSIG; signal++)
                sigaction(signal, &action, NULL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);

        /* The three sources are above 2: fd_above_stdio saw to it. */
        if (ready_fd < 0 || dup2(plan->null_fd, STDIN_FILENO) < 0 || dup2(plan->log_fd, STDOUT_FILENO) < 0 ||
            dup2(plan->log_fd, STDERR_FILENO) < 0 || dup2(ready_fd, READY_FD) < 0)
                _exit(127);
        close_range(READY_FD + 1, ~0U, 0); /* what the caller left inheritable is none of the broker's */
        umask(022);
        if (chdir("/") < 0)
                _exit(127);
        execve(plan->program, plan->argv, plan->environment);

        reason = errno == ENOENT ? "no such program" : errno == EACCES ? "not allowed" : "not executable";
        _exit(write(READY_FD, reason, strlen(reason)) < 0 ? 126 : 127);
}

/* A process without stdin, stdout or stderr gets their numbers for its next fds: moves *fd out of the way. */
static int fd_above_stdio(int *fd) {
        int copy;

        if (*fd > STDERR_FILENO)
                return 0;
        copy = fd_dup(*fd);
        if (copy < 0)
                return copy;
        fd_close(*fd);
        *fd = copy;
        return 0;
}

/* Starts the program in a session of its own, as nobody's child. */
static int plan_spawn(struct plan *plan, struct error *error) {
        pid_t pid;
        int r;

        r = fd_above_stdio(&plan->null_fd);
        if (r == 0)
                r = fd_above_stdio(&plan->log_fd);
        if (r == 0)
                r = fd_above_stdio(&plan->ready_fd);
        if (r < 0)
                return error_errno(error, r, "cannot prepare the broker's start");

        pid = fork();
        if (pid < 0)
                return error_errno(error, -errno, "cannot fork to start the broker");
        if (pid == 0) {
                setsid();
                if (fork() == 0)
                        plan_execute(plan);
                _exit(0);
        }
        /* ECHILD where the caller ignores SIGCHLD or reaps all children itself: as good. */
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
        return 0;
}

/* Reads until the end, a newline, or the deadline: the broker says "ready", or why it cannot run. */
static int wait_ready(int fd, const char *program, const char *log_path, struct error *error) {
        int64_t deadline = deadline_in(READY_TIMEOUT_MS);
        char text[400] = "";
        size_t used = 0;

        while (used < sizeof(text) - 1 && !strchr(text, '\n')) {
                int left = deadline_left(deadline);
                struct pollfd pollfd = { .fd = fd, .events = POLLIN };
                ssize_t n;

                if (left == 0 || poll(&pollfd, 1, left) == 0)
                        return error_set(error, -ETIMEDOUT,
                                         "the broker was not ready after %d s; see its log, %s",
                                         READY_TIMEOUT_MS / 1000, log_path);
                n = read(fd, text + used, sizeof(text) - 1 - used);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        break;
                used += (size_t)n;
                text[used] = '\0';
        }
        text[strcspn(text, "\n")] = '\0';
        if (text_equal(text, "ready"))
                return 0;
        if (text[0])
                return error_set(error, -ECHILD, "the broker (%s) did not start: %s", program, text);
        return error_set(error, -ECHILD, "the broker (%s) ended before it was ready; see its log, %s",
                         program, log_path);
}

static int launch(const struct place *place, const char *program, struct error *error) {
        _cleanup_(plan_deinit) struct plan plan = { .null_fd = -1, .log_fd = -1, .ready_fd = -1 };
        _cleanup_free_ char *log_path = text_format("%s/berthd.log", place->runtime);
        _cleanup_fd_ int ready_fd = -1;
        int pipe_fds[2];
        int r;

        if (!log_path)
                return error_set(error, -ENOMEM, "out of memory");
        r = plan_init(&plan, place, program, log_path, error);
        if (r < 0)
                return r;
        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return error_errno(error, -errno, "cannot make a pipe to start the broker");
        ready_fd = pipe_fds[0];
        plan.ready_fd = pipe_fds[1];

        r = plan_spawn(&plan, error);
        if (r < 0)
                return r;
        plan.ready_fd = fd_close(plan.ready_fd); /* so that the end of the broker is the end of the pipe */
        return wait_ready(ready_fd, plan.program, log_path, error);
}

int launch_connect(const struct place *place, const char *program, struct error *error) {
        _cleanup_free_ char *lock_path = text_format("%s/broker.lock", place->runtime);
        _cleanup_fd_ int lock_fd = -1;
        int fd, r;

        if (!lock_path)
                return error_set(error, -ENOMEM, "out of memory");
        r = file_make_directory(place->runtime, place->system ? 0755 : 0700, error);
        if (r < 0)
                return r;
        /* Who holds it gives up after READY_TIMEOUT_MS, so the wait has an end. */
        lock_fd = file_lock(lock_path, true, error);
        if (lock_fd < 0)
                return lock_fd;

        fd = fd_connect_unix(place->broker_socket); /* somebody else may have been quicker */
        if (fd == -ENOENT || fd == -ECONNREFUSED) {
                r = launch(place, program, error);
                if (r < 0)
                        return r;
                fd = fd_connect_unix(place->broker_socket);
        }
        if (fd < 0)
                return error_errno(error, fd, "cannot connect to the broker at %s", place->broker_socket);
        return fd;
}
