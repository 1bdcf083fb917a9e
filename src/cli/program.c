/* Programs: starting one beside us, and what it printed. */
#include "cli/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "cli/vm-clock.h"

#define PRINTED_MAX (16 * 1024 * 1024) /* bytes of its output that are read */

/* The child, between fork and exec. */
static void become(const struct program *program, const char *const *argv) {
        int null = open("/dev/null", O_RDONLY);
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(program->output, STDOUT_FILENO) < 0 ||
            dup2(program->complaints, STDERR_FILENO) < 0)
                _exit(127);
        /* What our caller left inheritable, a lock perhaps, is none of a program's that may outlive us. */
        close_range(3, ~0U, 0);
        execv(argv[0], (char **)argv);
        dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
        _exit(127);
}

static int start(struct program *ret, const char *const *argv, bool apart, struct error *error) {
        _cleanup_(program_deinit) struct program program = PROGRAM_INIT;

        program.output = memfd_create("output", MFD_CLOEXEC);
        program.complaints = memfd_create("complaints", MFD_CLOEXEC);
        if (program.output < 0 || program.complaints < 0)
                return error_errno(error, -errno, "cannot run %s", argv[0]);
        program.pid = fork();
        if (program.pid < 0)
                return error_errno(error, -errno, "cannot run %s", argv[0]);
        if (program.pid == 0) {
                if (apart)
                        setpgid(0, 0);
                become(&program, argv);
        }
        program.pidfd = process_open(program.pid);
        if (program.pidfd < 0)
                return error_errno(error, program.pidfd, "cannot run %s", argv[0]);
        *ret = program;
        program = PROGRAM_INIT;
        return 0;
}

int program_start(struct program *ret, const char *const *argv, struct error *error) {
        return start(ret, argv, false, error);
}

int program_start_apart(struct program *ret, const char *const *argv, struct error *error) {
        return start(ret, argv, true, error);
}

int program_await(const struct program *program, uint64_t deadline) {
        struct pollfd pollfd = { .fd = program->pidfd, .events = POLLIN };

        for (;;) {
                int left = vm_clock_left_ms(deadline), n = poll(&pollfd, 1, left);

                if (n > 0)
                        return 0;
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (left == 0)
                        return -ETIMEDOUT;
        }
}

int program_wait(struct program *program) {
        int status;

        while (waitpid(program->pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        program->pid = 0;
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void program_deinit(struct program *program) {
        if (program->pid > 0) {
                kill(program->pid, SIGKILL);
                program_wait(program);
        }
        program->pidfd = fd_close(program->pidfd);
        program->output = fd_close(program->output);
        program->complaints = fd_close(program->complaints);
}

static char *read_whole(int fd) {
        _cleanup_free_ char *text = NULL;
        struct stat st;
        ssize_t n;

        if (fstat(fd, &st) < 0 || st.st_size > PRINTED_MAX)
                return NULL;
        text = calloc(1, (size_t)st.st_size + 1);
        if (!text)
                return NULL;
        n = pread(fd, text, (size_t)st.st_size, 0);
        return n < 0 ? NULL : steal_ptr(text);
}

char *program_output(const struct program *program) {
        return read_whole(program->output);
}

char *program_complaints(const struct program *program) {
        return read_whole(program->complaints);
}

char *program_reason(const struct program *program) {
        _cleanup_free_ char *text = program_complaints(program);
        char *line;

        if (!text)
                return NULL;
        for (size_t n = strlen(text); n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' ');)
                text[--n] = '\0';
        line = strrchr(text, '\n');
        return strdup(line ? line + 1 : text);
}

int program_run(const char *const *argv, char **ret_output, struct error *error) {
        _cleanup_(program_deinit) struct program program = PROGRAM_INIT;
        _cleanup_free_ char *path = process_find_program(argv[0], NULL), *reason = NULL, *output = NULL;
        _cleanup_free_ const char **words = NULL;
        size_t n = 0;
        int r;

        if (!path)
                return error_set(error, -ENOENT, "%s: no such program in PATH", argv[0]);
        while (argv[n])
                n++;
        words = calloc(n + 1, sizeof(*words));
        if (!words)
                return error_set(error, -ENOMEM, "out of memory");
        memcpy(words, argv, n * sizeof(*words));
        words[0] = path;

        r = program_start(&program, words, error);
        if (r < 0)
                return r;
        r = program_wait(&program);
        if (r < 0)
                return error_errno(error, r, "cannot run %s", argv[0]);
        output = program_output(&program);
        reason = program_reason(&program);
        if (!output || !reason)
                return error_set(error, -ENOMEM, "out of memory");
        if (r != 0 && reason[0])
                return error_set(error, -EIO, "%s", reason);
        if (r != 0)
                return error_set(error, -EIO, "%s ended with status %d", argv[0], r);
        if (ret_output)
                *ret_output = steal_ptr(output);
        return 0;
}
