/* berth vm console: on a terminal, which is as it was afterwards, whatever happens. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "fixture.h"

struct world {
        struct fixture *fixture;
        int control, console; /* listening sockets of the VM's vmhost */
        int viewer; /* the connection of berth */
        int master, slave; /* the terminal */
        struct termios before;
        pid_t pid;
};

static int setup(void **state) {
        static struct world world;
        _cleanup_free_ char *path = NULL;

        world = (struct world){ .fixture = fixture_new(), .viewer = -1 };
        fixture_make_vm(world.fixture, "web");
        world.control = fixture_listen(world.fixture, "web");
        path = fixture_path(world.fixture, "web", "console.sock");
        world.console = fd_listen_unix(path, 0600);
        assert_true(world.console >= 0);
        assert_int_equal(openpty(&world.master, &world.slave, NULL, NULL, NULL), 0);
        fd_set_cloexec(world.master, true);
        fd_set_cloexec(world.slave, true);
        assert_int_equal(tcgetattr(world.slave, &world.before), 0);
        *state = &world;
        return 0;
}

static int teardown(void **state) {
        struct world *world = *state;

        if (world->pid > 0) {
                kill(world->pid, SIGKILL);
                waitpid(world->pid, NULL, 0);
        }
        fd_close(world->control);
        fd_close(world->console);
        fd_close(world->viewer);
        fd_close(world->master);
        fd_close(world->slave);
        fixture_free(world->fixture);
        return 0;
}

static void start(struct world *world) {
        world->pid = fork();
        assert_true(world->pid >= 0);
        if (world->pid == 0) {
                setsid();
                ioctl(world->slave, TIOCSCTTY, 0);
                for (int fd = 0; fd < 3; fd++)
                        dup2(world->slave, fd);
                execl(BERTH, BERTH, "vm", "console", "web", (char *)NULL);
                _exit(99);
        }
        fixture_wait_readable(world->console);
        fd_close(world->viewer);
        world->viewer = accept4(world->console, NULL, NULL, SOCK_CLOEXEC);
        assert_true(world->viewer >= 0);
}

/* Reads until the text has come. */
static void expect(int fd, const char *text) {
        char buffer[8192] = "";
        size_t used = 0;

        while (!strstr(buffer, text)) {
                ssize_t n;

                fixture_wait_readable(fd);
                n = read(fd, buffer + used, sizeof(buffer) - 1 - used);
                assert_true(n > 0);
                used += (size_t)n;
        }
}

static void type(struct world *world, const char *text) {
        assert_int_equal(write(world->master, text, strlen(text)), (ssize_t)strlen(text));
}

static int finish(struct world *world) {
        int status;

        assert_int_equal(waitpid(world->pid, &status, 0), world->pid);
        world->pid = 0;
        return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static bool is_as_before(const struct world *world) {
        struct termios now;

        assert_int_equal(tcgetattr(world->slave, &now), 0);
        return now.c_lflag == world->before.c_lflag && now.c_iflag == world->before.c_iflag &&
               now.c_oflag == world->before.c_oflag && now.c_cflag == world->before.c_cflag;
}

/* It is made raw before the console is connected to, so that nothing typed is echoed. */
static void test_both_ways(void **state) {
        struct world *world = *state;
        char rest[16];

        start(world);
        assert_false(is_as_before(world));
        assert_int_equal(write(world->viewer, "login: ", 7), 7);
        expect(world->master, "login: ");
        /* Ctrl-C and Ctrl-Z are the guest's. */
        type(world, "root\r\x03\x1a");
        expect(world->viewer, "root\r\x03\x1a");
        type(world, "last\x1d"
                    "beyond");
        expect(world->master, "left web, which goes on");
        assert_int_equal(finish(world), 0);
        assert_true(is_as_before(world));
        /* What stood behind the escape did not go to the guest. */
        assert_int_equal(read(world->viewer, rest, sizeof(rest)), 4);
        assert_memory_equal(rest, "last", 4);
        assert_int_equal(read(world->viewer, rest, sizeof(rest)), 0);
}

static void test_signals(void **state) {
        static const struct {
                int signal, status;
        } cases[] = {
                { SIGTERM, 128 + SIGTERM },  { SIGHUP, 128 + SIGHUP },    { SIGINT, 128 + SIGINT },
                { SIGABRT, 1000 + SIGABRT }, { SIGKILL, 1000 + SIGKILL },
        };
        struct world *world = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char byte;

                start(world);
                expect(world->master, "Ctrl-] leaves it");
                assert_false(is_as_before(world));
                assert_int_equal(kill(world->pid, cases[i].signal), 0);
                assert_int_equal(finish(world), cases[i].status);
                assert_int_equal(read(world->viewer, &byte, 1), 0);
                /* The terminal's guard does its work after the end of a killed one: it is the last that has
                 * the terminal open but for us, and the others of its process group have ended. */
                while (!is_as_before(world))
                        sched_yield();
        }
}

static void test_ignored_signals(void **state) {
        struct world *world = *state;

        signal(SIGHUP, SIG_IGN); /* which is inherited */
        start(world);
        signal(SIGHUP, SIG_DFL);
        expect(world->master, "Ctrl-] leaves it");
        assert_int_equal(kill(world->pid, SIGHUP), 0);
        /* Of two that came, a signalfd would give the lower first. */
        assert_int_equal(kill(world->pid, SIGTERM), 0);
        assert_int_equal(finish(world), 128 + SIGTERM);
}

/* The VM's vmhost is killed and another comes, some time later, with a new socket. */
static void test_reconnect(void **state) {
        struct world *world = *state;
        _cleanup_free_ char *path = fixture_path(world->fixture, "web", "console.sock");

        start(world);
        assert_int_equal(write(world->viewer, "one", 3), 3);
        expect(world->master, "one");
        fd_close(world->console);
        unlink(path);
        world->viewer = fd_close(world->viewer);
        /* It looks whether there is a vmhost before each attempt: these are of its start and of two attempts.
         */
        for (int i = 0; i < 4; i++) {
                fixture_wait_readable(world->control);
                fd_close(accept4(world->control, NULL, NULL, SOCK_CLOEXEC));
        }
        world->console = fd_listen_unix(path, 0600);
        assert_true(world->console >= 0);
        fixture_wait_readable(world->console);
        world->viewer = accept4(world->console, NULL, NULL, SOCK_CLOEXEC);
        assert_int_equal(write(world->viewer, "two", 3), 3);
        expect(world->master, "two");
        type(world, "\x1d");
        assert_int_equal(finish(world), 0);
        assert_true(is_as_before(world));
}

static void test_end(void **state) {
        struct world *world = *state;
        _cleanup_free_ char *control = fixture_path(world->fixture, "web", "vmhost.sock");

        start(world);
        fixture_write(world->fixture, "web", "state.json",
                      "{\"phase\":\"stopped\",\"run\":null,\"last_end\":{\"by\":\"guest\",\"stage\":\"none\","
                      "\"reason\":\"the guest shut itself down\",\"uptime_ms\":5000}}");
        unlink(control);
        world->viewer = fd_close(world->viewer);
        expect(world->master, "web: the guest shut itself down (after 5 s)");
        assert_int_equal(finish(world), 0);
        assert_true(is_as_before(world));
}

/* Without a terminal nothing is an escape, and the end of the input is not that of the output. */
static void test_pipe(void **state) {
        struct world *world = *state;
        _cleanup_free_ char *control = fixture_path(world->fixture, "web", "vmhost.sock");
        int input[2], output[2];

        assert_int_equal(pipe2(input, O_CLOEXEC), 0);
        assert_int_equal(pipe2(output, O_CLOEXEC), 0);
        world->pid = fork();
        assert_true(world->pid >= 0);
        if (world->pid == 0) {
                dup2(input[0], STDIN_FILENO);
                dup2(output[1], STDOUT_FILENO);
                dup2(output[1], STDERR_FILENO);
                execl(BERTH, BERTH, "vm", "console", "web", (char *)NULL);
                _exit(99);
        }
        fd_close(input[0]);
        fd_close(output[1]);
        fixture_wait_readable(world->console);
        world->viewer = accept4(world->console, NULL, NULL, SOCK_CLOEXEC);
        assert_int_equal(write(input[1], "typed\x1d!", 7), 7);
        fd_close(input[1]);
        expect(world->viewer, "typed\x1d!");
        assert_int_equal(write(world->viewer,
                               "a\x1d"
                               "b\n",
                               4),
                         4);
        expect(output[0], "a\x1d"
                          "b\n");
        unlink(control);
        world->viewer = fd_close(world->viewer);
        assert_int_equal(finish(world), 0);
        fd_close(output[0]);
}

static int queued(int fd, unsigned long request) {
        int n = 0;

        assert_int_equal(ioctl(fd, request, &n), 0);
        return n;
}

/* Nobody reads what is printed, of a pipe or a terminal: it can be ended all the same. */
static void test_unread(void **state) {
        struct world *world = *state;
        char block[4096];
        int output[2];

        memset(block, 'x', sizeof(block));
        assert_int_equal(pipe2(output, O_CLOEXEC), 0);
        assert_int_equal(fcntl(output[1], F_SETPIPE_SZ, sizeof(block)), sizeof(block));
        for (int terminal = 0; terminal < 2; terminal++) {
                world->pid = fork();
                assert_true(world->pid >= 0);
                if (world->pid == 0) {
                        dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
                        dup2(terminal ? world->slave : output[1], STDOUT_FILENO);
                        execl(BERTH, BERTH, "vm", "console", "web", (char *)NULL);
                        _exit(99);
                }
                fixture_wait_readable(world->console);
                world->viewer = accept4(world->console, NULL, NULL, SOCK_CLOEXEC);
                /* A terminal that Ctrl-S has stopped takes nothing; the pipe takes the first. */
                if (terminal)
                        assert_int_equal(tcflow(world->slave, TCOOFF), 0);
                for (int i = terminal; i < 2; i++)
                        assert_int_equal(write(world->viewer, block, sizeof(block)), sizeof(block));
                while (queued(world->viewer, SIOCOUTQ) > 0 ||
                       (!terminal && queued(output[0], FIONREAD) < (int)sizeof(block)))
                        sched_yield();
                assert_int_equal(kill(world->pid, SIGTERM), 0);
                assert_int_equal(finish(world), 128 + SIGTERM);
                world->viewer = fd_close(world->viewer);
        }
        fd_close(output[0]);
        fd_close(output[1]);
}

static void test_not_running(void **state) {
        struct world *world = *state;
        _cleanup_free_ char *control = fixture_path(world->fixture, "web", "vmhost.sock"), *output = NULL;
        int status;

        unlink(control);
        output = fixture_run(world->fixture, &status, ARGUMENTS("vm", "console", "web"));
        assert_int_equal(status, 1);
        assert_non_null(strstr(output, "VM web is not running\nberth: `berth vm start web` starts it"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

HARNESS_MAIN(TEST(test_both_ways), TEST(test_signals), TEST(test_ignored_signals), TEST(test_reconnect),
             TEST(test_end), TEST(test_pipe), TEST(test_unread), TEST(test_not_running))
