/* vmhost/confine and vmhost/spawn: what a confined program still can, tried by one. */
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "vmhost/confine.h"
#include "vmhost/spawn.h"

struct world {
        char *directory, *inside, *outside; /* two directories in it, with a file "f" in each */
};

static char *make_file(const char *directory, const char *text) {
        char *path = text_format("%s/f", directory);

        assert_int_equal(mkdir(directory, 0700), 0);
        assert_int_equal(file_write(path, text, strlen(text), 0600, false, NULL), 0);
        return path;
}

static int setup(void **state) {
        static struct world world;

        if (confine_abi() == 0)
                skip();
        world.directory = harness_make_directory();
        world.inside = text_format("%s/inside", world.directory);
        world.outside = text_format("%s/outside", world.directory);
        free(make_file(world.inside, "inside"));
        free(make_file(world.outside, "outside"));
        *state = &world;
        return 0;
}

static int teardown(void **state) {
        struct world *world = *state;

        free(world->inside);
        free(world->outside);
        harness_remove_directory(world->directory);
        return 0;
}

/* Runs fn in a child that is confined by the rules: what it returns, 0 to 255. */
static int confined(const struct confine_rule *rules, size_t n, int (*fn)(const struct world *),
                    const struct world *world) {
        struct error error = ERROR_INIT;
        int ruleset = n > 0 ? confine_prepare(rules, n, &error) : -1, status;

        if (n > 0 && ruleset < 0)
                fail_msg("%s", error.text);
        assert_true(n == 0 || (fcntl(ruleset, F_GETFD) & FD_CLOEXEC));
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                _exit(confine_enter(ruleset) < 0 ? 255 : fn(world));
        fd_close(ruleset);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

/* 0 where the file opens, else the errno. */
static int try_open(const char *directory, const char *name, int flags) {
        _cleanup_free_ char *path = text_format("%s/%s", directory, name);
        _cleanup_fd_ int fd = open(path, flags | O_CLOEXEC, 0600);

        return fd < 0 ? errno : 0;
}

static int use_read_only(const struct world *world) {
        return try_open(world->inside, "f", O_RDONLY) != 0                    ? 1
               : try_open(world->inside, "f", O_WRONLY) != EACCES             ? 2
               : try_open(world->inside, "new", O_CREAT | O_WRONLY) != EACCES ? 3
               : try_open(world->outside, "f", O_RDONLY) != EACCES            ? 4
               : try_open("/etc", "passwd", O_RDONLY) != EACCES               ? 5
                                                                              : 0;
}

static int use_writable(const struct world *world) {
        _cleanup_free_ char *a = text_format("%s/f", world->inside), *b = text_format("%s/g", world->inside);
        _cleanup_free_ char *out = text_format("%s/g", world->outside);

        return try_open(world->inside, "f", O_RDWR | O_TRUNC) != 0     ? 1
               : try_open(world->inside, "new", O_CREAT | O_RDWR) != 0 ? 2
               : rename(a, b) != 0                                     ? 3
               : rename(b, out) == 0                                   ? 4
               : unlink(b) != 0                                        ? 5
               : try_open(world->outside, "f", O_RDONLY) != EACCES     ? 6
                                                                       : 0;
}

/* A rule for a file is not one for its directory. */
static int use_file(const struct world *world) {
        return try_open(world->inside, "f", O_RDWR) != 0                        ? 1
               : try_open(world->inside, "new", O_CREAT | O_RDWR) != EACCES     ? 2
               : try_open(world->inside, ".", O_RDONLY | O_DIRECTORY) != EACCES ? 3
                                                                                : 0;
}

static void test_files(void **state) {
        const struct world *world = *state;
        _cleanup_free_ char *file = text_format("%s/f", world->inside);
        const struct confine_rule readable = { world->inside, CONFINE_READ, false };
        const struct confine_rule one = { file, CONFINE_WRITE, false };
        const struct confine_rule writable[] = {
                { world->inside, CONFINE_WRITE, false },
                { "/nowhere/at/all", CONFINE_READ, true },
        };

        assert_int_equal(confined(&readable, 1, use_read_only, world), 0);
        assert_int_equal(confined(&one, 1, use_file, world), 0);
        assert_int_equal(confined(writable, 2, use_writable, world), 0);
}

static int connect_tcp(const struct world *world) {
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons(1),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        _cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno != EACCES)
                return 1;
        address.sin_port = 0;
        return bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno != EACCES ? 2 : 0;
}

static int signal_parent(const struct world *world) {
        return kill(getppid(), 0) < 0 && errno == EPERM ? 0 : 1;
}

static void test_beyond_files(void **state) {
        const struct world *world = *state;
        const struct confine_rule rule = { world->inside, CONFINE_READ, false };

        if (confine_abi() >= 4)
                assert_int_equal(confined(&rule, 1, connect_tcp, world), 0);
        if (confine_abi() >= 6)
                assert_int_equal(confined(&rule, 1, signal_parent, world), 0);
}

/* Also where there is no Landlock. Root keeps the files of others and nothing else. */
static int use_privileges(const struct world *world) {
        _cleanup_free_ char *file = text_format("%s/f", world->inside);

        if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
                return 1;
        if (sethostname("taken-over", 10) == 0 || errno != EPERM)
                return 2;
        return geteuid() == 0 && chown(file, 12345, 12345) < 0 ? 3 : 0;
}

static void test_privileges(void **state) {
        assert_int_equal(confined(NULL, 0, use_privileges, *state), 0);
}

static void test_mistakes(void **state) {
        const struct confine_rule missing = { "/nowhere/at/all", CONFINE_READ, false };
        struct error error = ERROR_INIT;

        assert_int_equal(confine_prepare(&missing, 1, &error), -ENOENT);
        assert_non_null(strstr(error.text, "/nowhere/at/all"));
}

/* ---- Spawn ---- */

/* Runs a shell script; its output, to be freed. */
static char *shell(const struct world *world, const char *script, const int *fds, size_t n_fds,
                   bool confine) {
        const char *const words[] = { "/bin/sh", "-c", script, NULL };
        const struct confine_rule rules[] = {
                { "/usr", CONFINE_EXECUTE, false },         { "/bin", CONFINE_EXECUTE, false },
                { "/lib", CONFINE_EXECUTE, true },          { "/lib64", CONFINE_EXECUTE, true },
                { "/etc/ld.so.cache", CONFINE_READ, true }, { "/dev/null", CONFINE_DEVICE, false },
                { world->inside, CONFINE_READ, false },     { "/proc", CONFINE_READ, false },
        };
        _cleanup_free_ char *path = text_format("%s/log", world->directory);
        _cleanup_fd_ int log = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        _cleanup_fd_ int ruleset = confine ? confine_prepare(rules, ARRAY_SIZE(rules), NULL) : -1;
        const struct spawn spawn = { .arguments = (char *const *)words,
                                     .fds = fds,
                                     .n_fds = n_fds,
                                     .log = log,
                                     .confined = confine,
                                     .ruleset = ruleset };
        struct error error = ERROR_INIT;
        char *text;
        size_t size;
        pid_t pid;

        if (spawn_run(&spawn, &pid, &error) < 0)
                fail_msg("%s", error.text);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(file_read(path, 65536, &text, &size, NULL), 0);
        return text;
}

static void test_spawn(void **state) {
        const struct world *world = *state;
        int pipes[2];
        sigset_t blocked, before;

        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        sigemptyset(&blocked);
        sigaddset(&blocked, SIGTERM);
        sigprocmask(SIG_BLOCK, &blocked, &before);
        signal(SIGPIPE, SIG_IGN);
        _cleanup_free_ char *script = text_format(
                "echo x >&%d; [ -e /proc/$$/fd/%d ] || echo closed; umask; "
                /* The standard signals, 1 to 31: some of the others are the C library's own affair. */
                "for m in $(grep -E 'SigBlk|SigIgn' /proc/self/status | cut -f2); do "
                "echo $((0x$m & 0x7fffffff)); done; "
                "read x || echo end; [ $$ = $(cut -d' ' -f6 /proc/$$/stat) ] "
                "&& echo session",
                pipes[1], pipes[0]);
        _cleanup_free_ char *output = shell(world, script, &pipes[1], 1, false);
        sigprocmask(SIG_SETMASK, &before, NULL);
        signal(SIGPIPE, SIG_DFL);
        assert_string_equal(output, "closed\n0077\n0\n0\nend\nsession\n");
        char byte;
        assert_int_equal(read(pipes[0], &byte, 1), 1);
        assert_true(fcntl(pipes[1], F_GETFD) & FD_CLOEXEC);
        fd_close(pipes[0]);
        fd_close(pipes[1]);
}

static void test_spawn_confined(void **state) {
        const struct world *world = *state;
        _cleanup_free_ char *script = text_format("cat %s/f; echo; cat %s/f", world->inside, world->outside);
        _cleanup_free_ char *output = shell(world, script, NULL, 0, true);

        assert_true(text_starts_with(output, "inside\n"));
        assert_non_null(strstr(output, "Permission denied"));
}

static void test_spawn_failure(void **state) {
        const struct world *world = *state;
        const struct confine_rule rule = { world->inside, CONFINE_READ, false };
        const char *const words[] = { "/nowhere/program", NULL }, *const shut_in[] = { "/bin/true", NULL };
        struct spawn spawn = { .arguments = (char *const *)words, .log = 2, .ruleset = -1 };
        struct error error = ERROR_INIT;
        pid_t pid = -7;

        assert_int_equal(spawn_run(&spawn, &pid, &error), -ENOENT);
        assert_string_equal(error.text,
                            "cannot start /nowhere/program: cannot execute it: No such file or directory");
        spawn.orphan = true;
        assert_int_equal(spawn_run(&spawn, NULL, &error), -ENOENT);
        spawn.orphan = false;
        spawn.arguments = (char *const *)shut_in;
        spawn.confined = true;
        spawn.ruleset = confine_prepare(&rule, 1, NULL);
        assert_int_equal(spawn_run(&spawn, &pid, &error), -EACCES);
        fd_close(spawn.ruleset);
        assert_int_equal(pid, -7);
        /* None of them is left behind, not as a zombie either. */
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
}

static void test_spawn_orphan(void **state) {
        int order[2], end[2];
        char byte;

        assert_int_equal(pipe2(order, O_CLOEXEC), 0);
        assert_int_equal(pipe2(end, O_CLOEXEC), 0);
        _cleanup_free_ char *script = text_format("read x <&%d", order[0]);
        const char *const words[] = { "/bin/sh", "-c", script, NULL };
        const int fds[] = { order[0], end[1] };
        const struct spawn spawn = { .arguments = (char *const *)words,
                                     .fds = fds,
                                     .n_fds = 2,
                                     .log = 2,
                                     .ruleset = -1,
                                     .orphan = true };
        assert_int_equal(spawn_run(&spawn, NULL, NULL), 0);
        fd_close(end[1]);
        assert_int_equal(fd_set_nonblock(end[0], true), 0);
        assert_int_equal(read(end[0], &byte, 1), -1); /* it runs */
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* as nobody's child here */
        assert_int_equal(fd_set_nonblock(end[0], false), 0);
        assert_int_equal(write(order[1], "\n", 1), 1);
        assert_int_equal(read(end[0], &byte, 1), 0);
        fd_close(order[0]);
        fd_close(order[1]);
        fd_close(end[0]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

HARNESS_MAIN(TEST(test_files), TEST(test_beyond_files), TEST(test_privileges), TEST(test_mistakes),
             TEST(test_spawn), TEST(test_spawn_confined), TEST(test_spawn_failure), TEST(test_spawn_orphan))
