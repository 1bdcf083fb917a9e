/* vmhost/spawn's gate, vmhost/cgroup and vmhost/scope, as far as they need no systemd of our own. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "vmhost/cgroup.h"
#include "vmhost/scope.h"
#include "vmhost/spawn.h"

#define PATIENCE_MS 20000

/* ---- The gate ---- */

struct placement {
        const char *file; /* that the program makes */
        int result;
        pid_t pid;
        bool early; /* it ran before it was placed */
        int fds[2]; /* a pipe of the parent's */
        bool held; /* it kept the pipe open */
};

static int place(pid_t pid, void *data, struct error *error) {
        struct placement *placement = data;
        _cleanup_free_ char *exe = text_format("/proc/%d/exe", (int)pid),
                            *own = realpath("/proc/self/exe", NULL);
        _cleanup_free_ char *its = exe ? realpath(exe, NULL) : NULL;

        placement->pid = pid;
        placement->early = !text_equal(its, own) || access(placement->file, F_OK) == 0;
        placement->fds[1] = fd_close(placement->fds[1]);
        placement->held = poll(&(struct pollfd){ .fd = placement->fds[0] }, 1, PATIENCE_MS) != 1;
        return placement->result < 0 ? error_set(error, placement->result, "there is no room") : 0;
}

static void test_gate(void **state) {
        char *directory = harness_make_directory();
        _cleanup_free_ char *file = text_format("%s/made", directory);
        /* It has what it is to inherit. */
        _cleanup_free_ char *script = text_format(
                "for fd in \"$@\"; do [ -e /proc/self/fd/$fd ] || exit 1; done; >%s", file);
        char numbers[2][16];
        const char *words[] = { "/bin/sh", "-c", script, "sh", numbers[0], numbers[1], NULL };
        struct placement placement = { .file = file };
        int kept[2];
        _cleanup_fd_ int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        const struct spawn spawn = { .arguments = (char *const *)words,
                                     .log = null,
                                     .fds = kept,
                                     .n_fds = ARRAY_SIZE(kept),
                                     .ruleset = -1,
                                     .place = place,
                                     .data = &placement };
        struct error error = ERROR_INIT;
        pid_t pid = 0;
        int status;

        assert_int_equal(pipe2(placement.fds, O_CLOEXEC), 0);
        /* Around it, in no order. */
        kept[1] = fcntl(null, F_DUPFD_CLOEXEC, 3);
        kept[0] = fcntl(null, F_DUPFD_CLOEXEC, 200);
        for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
                snprintf(numbers[i], sizeof(numbers[i]), "%d", kept[i]);
        assert_int_equal(spawn_run(&spawn, &pid, &error), 0);
        assert_int_equal(pid, placement.pid);
        assert_false(placement.early);
        assert_false(placement.held);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_int_equal(access(file, F_OK), 0);

        /* One that finds no place never becomes the program, and is gone. */
        assert_int_equal(unlink(file), 0);
        placement.result = -ENOSPC;
        assert_int_equal(spawn_run(&spawn, &pid, &error), -ENOSPC);
        assert_string_equal(error.text, "there is no room");
        assert_int_equal(kill(placement.pid, 0), -1);
        assert_int_equal(access(file, F_OK), -1);
        fd_close(placement.fds[0]);
        for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
                fd_close(kept[i]);
        harness_remove_directory(directory);
}

/* A kernel before 5.9, or a container's filter. */
static bool refuse_close_range(void) {
        struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        const struct sock_fprog program = { ARRAY_SIZE(filter), filter };

        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
               prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int find_no_place(pid_t pid, void *data, struct error *error) {
        return error_set(error, -ENOSPC, "there is no room");
}

/* What waits sees the end of the gate also where it cannot close the rest. */
static void test_gate_without_close_range(void **state) {
        const char *const words[] = { "/bin/true", NULL };
        int status;

        pid_t pid = fork();
        if (pid == 0) {
                const struct spawn spawn = { .arguments = (char *const *)words,
                                             .log = STDERR_FILENO,
                                             .ruleset = -1,
                                             .place = find_no_place };
                struct error error = ERROR_INIT;

                setpgid(0, 0);
                alarm(PATIENCE_MS / 1000);
                _exit(!refuse_close_range() ? 77 : spawn_run(&spawn, NULL, &error) == -ENOSPC ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        kill(-pid, SIGKILL); /* one that waits all the same */
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                skip();
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- Cgroups ---- */

static void test_cgroup(void **state) {
        char directory[512], small[4];
        const char *controllers[] = { NULL, "memory", "cpu" };

        for (size_t i = 0; i < ARRAY_SIZE(controllers); i++) {
                assert_int_equal(cgroup_find(getpid(), controllers[i], directory, sizeof(directory)), 0);
                assert_true(text_starts_with(directory, "/sys/fs/cgroup/"));
        }
        /* Half a controller's name is none: that leads to version 2. */
        char whole[512];
        assert_int_equal(cgroup_find(getpid(), NULL, whole, sizeof(whole)), 0);
        assert_int_equal(cgroup_find(getpid(), "memor", directory, sizeof(directory)), 0);
        assert_string_equal(directory, whole);
        assert_int_equal(cgroup_find(getpid(), NULL, small, sizeof(small)), -ENAMETOOLONG);
        assert_int_equal(cgroup_find(0x7ffffffe, NULL, directory, sizeof(directory)), -ENOENT);
}

static void test_number(void **state) {
        static const struct {
                const char *text;
                int result;
                uint64_t number;
        } cases[] = {
                { "104857600\n", 0, 104857600 }, { "max\n", 0, UINT64_MAX },
                { "50000 100000\n", 0, 50000 },  { "-1\n", 0, UINT64_MAX },
                { "max 100000", 0, UINT64_MAX }, { "", -EINVAL, 0 },
                { "many\n", -EINVAL, 0 },
        };
        char *directory = harness_make_directory();
        _cleanup_free_ char *path = text_format("%s/memory.max", directory);
        uint64_t number;

        assert_int_equal(cgroup_read_number(directory, "memory.max", &number), -ENOENT);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(file_write(path, cases[i].text, strlen(cases[i].text), 0600, false, NULL),
                                 0);
                assert_int_equal(cgroup_read_number(directory, "memory.max", &number), cases[i].result);
                if (cases[i].result == 0)
                        assert_true(number == cases[i].number);
        }
        harness_remove_directory(directory);
}

/* ---- Scopes ---- */

static void test_scope(void **state) {
        const struct configuration none = {}, memory = { .memory_limit_mib = 64 },
                                   cpu = { .cpu_limit_percent = 10 };
        struct error error = ERROR_INIT;
        char unit[SCOPE_NAME_SIZE];

        assert_false(scope_is_wanted(&none));
        assert_true(scope_is_wanted(&memory) && scope_is_wanted(&cpu));
        assert_int_equal(scope_find(getpid(), unit), -ENOENT);

        /* Without busctl, and with one that has no systemd to ask. */
        char *directory = harness_make_directory();
        _cleanup_free_ char *tool = text_format("%s/busctl", directory), *path = strdup(getenv("PATH"));
        static const char refusing[] =
                "#!/bin/sh\necho first >&2\necho 'Failed to connect to bus' >&2\nexit 1\n";
        assert_int_equal(file_write(tool, refusing, strlen(refusing), 0755, false, NULL), 0);
        assert_int_equal(setenv("PATH", directory, 1), 0);
        assert_int_equal(scope_enter(getpid(), &memory, "web", &error), -ENOENT);
        assert_non_null(strstr(error.text, "systemd cannot be asked: Failed to connect to bus"));
        assert_non_null(strstr(error.text, "memory_limit_mib"));
        setenv("PATH", path, 1);
        harness_remove_directory(directory);
}

HARNESS_MAIN(cmocka_unit_test(test_gate), cmocka_unit_test(test_gate_without_close_range),
             cmocka_unit_test(test_cgroup), cmocka_unit_test(test_number), cmocka_unit_test(test_scope))
