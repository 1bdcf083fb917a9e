/* berth vm run: whatever ends it, the VM is gone afterwards. */
#include "harness.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "fixture.h"

#define ANY_FILE "/etc/passwd"
#define RECORD                                                                                               \
        "{\"by\":\"host\",\"stage\":\"quit\",\"exit_code\":0,\"reason\":\"ended on request\",\"uptime_ms\":5000}"
#define END "{\"ok\":true,\"state\":\"stopped\",\"end\":" RECORD "}"

struct world {
        struct fixture *fixture;
        int up, go; /* named pipes: the vmhost's program tells that it runs, and waits to be told to end */
};

static void write_program(const struct world *world, const char *name, const char *script) {
        _cleanup_free_ char *path = text_format("%s/%s", world->fixture->config, name);
        _cleanup_free_ char *text = text_format("#!/bin/sh\n%s\n", script);

        assert_int_equal(file_write(path, text, strlen(text), 0755, false, NULL), 0);
}

static int setup(void **state) {
        static struct world world;
        _cleanup_free_ char *script = NULL;

        world.fixture = fixture_new();
        world.up = fixture_make_pipe(world.fixture, "up");
        world.go = fixture_make_pipe(world.fixture, "go");
        script = text_format("case $1 in --check=*) echo {}; exit;; esac\n"
                             "echo $$ >%s/up; read -r line <%s/go", world.fixture->config,
                             world.fixture->config);
        fixture_write_vmhost(world.fixture, script);
        *state = &world;
        return 0;
}

static int teardown(void **state) {
        struct world *world = *state;

        fd_close(world->up);
        fd_close(world->go);
        fixture_free(world->fixture);
        return 0;
}

/* Starts a run, and returns the pid of its vmhost's program. */
static pid_t start(struct world *world) {
        char line[32] = "";

        fixture_start(world->fixture,
                      ARGUMENTS("vm", "run", "job", "--kernel", ANY_FILE, "--no-network", "--no-ssh"));
        fixture_wait_readable(world->up);
        assert_true(read(world->up, line, sizeof(line) - 1) > 0);
        return (pid_t)atoi(line);
}

/* Until the console is being printed. The vmhost's socket. */
static int run(struct world *world, int *ret_wait) {
        int listener, events;

        start(world);
        listener = fixture_listen(world->fixture, "job");
        events = fixture_accept(listener, "{\"method\":\"events\"}");
        assert_int_equal(write(world->go, "\n", 1), 1);
        *ret_wait = fixture_accept(listener, "{\"method\":\"wait\"}");
        fd_close(events);
        return listener;
}

/* The VM is ended by force, and its vmhost goes. */
static void expect_stop(struct world *world, int consume_listener) {
        _cleanup_free_ char *socket = fixture_path(world->fixture, "job", "vmhost.sock");
        int wait = fixture_accept(consume_listener, "{\"method\":\"wait\"}");

        fixture_reply_last(fixture_accept(consume_listener, "{\"method\":\"force_stop\"}"),
                           "{\"ok\":true,\"state\":\"stopping\"}");
        unlink(socket);
        fd_close(consume_listener);
        fixture_reply_last(wait, END);
}

static void expect_end(struct world *world, int expected) {
        int status;

        assert_int_equal(waitpid(world->fixture->pid, &status, 0), world->fixture->pid);
        world->fixture->pid = 0;
        assert_int_equal(WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status), expected);
        assert_int_equal(fixture_count_vms(world->fixture), 0);
}

/* As by `| grep -q`: whoever reads the console has had enough, whether or not the guest prints any more. */
static void test_nobody_reads(void **state) {
        struct world *world = *state;

        for (int talks = 0; talks < 2; talks++) {
                int listener, wait;

                listener = run(world, &wait);
                world->fixture->output = fd_close(world->fixture->output);
                if (talks)
                        fixture_write(world->fixture, "job", "console.log", "more\n");
                expect_stop(world, listener);
                fd_close(wait);
                expect_end(world, 128 + SIGPIPE);
        }
}

static void test_signals(void **state) {
        static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
        struct world *world = *state;

        for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
                int listener, wait;

                listener = run(world, &wait);
                assert_int_equal(kill(world->fixture->pid, signals[i]), 0);
                expect_stop(world, listener);
                fd_close(wait);
                expect_end(world, 128 + signals[i]);
        }
}

/* What the starter ignores stays ignored, as under nohup(1), or in the background of a script. */
static void test_ignored_signals(void **state) {
        static const int ignored[] = { SIGHUP, SIGINT, SIGQUIT };
        struct world *world = *state;
        int listener, wait;

        for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
                signal(ignored[i], SIG_IGN);
        listener = run(world, &wait);
        for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
                signal(ignored[i], SIG_DFL);
                assert_int_equal(kill(world->fixture->pid, ignored[i]), 0);
        }
        /* Of several that came, a signalfd would give the lowest first, which is one of those. */
        assert_int_equal(kill(world->fixture->pid, SIGTERM), 0);
        expect_stop(world, listener);
        fd_close(wait);
        expect_end(world, 128 + SIGTERM);
}

/* A terminal's Ctrl-C is not for the program that becomes vmhost; it is asked for a stop while it starts. */
static void test_signal_while_started(void **state) {
        struct world *world = *state;
        pid_t program = start(world);
        int listener, events;

        assert_int_not_equal(getpgid(program), getpgid(world->fixture->pid));
        listener = fixture_listen(world->fixture, "job");
        events = fixture_accept(listener, "{\"method\":\"events\"}");
        assert_int_equal(kill(world->fixture->pid, SIGINT), 0);
        expect_stop(world, listener);
        fd_close(events);
        expect_end(world, 128 + SIGINT);
}

/* Nor does it wait for a reader who has stopped reading. */
static void test_unread(void **state) {
        struct world *world = *state;
        size_t size = 1024 * 1024;
        _cleanup_free_ char *text = calloc(1, size + 1), *output = NULL;
        int listener, wait, capacity, queued = 0, status;

        memset(text, 'x', size);
        listener = run(world, &wait);
        capacity = fcntl(world->fixture->output, F_GETPIPE_SZ);
        fixture_write(world->fixture, "job", "console.log", text);
        while (queued < capacity) {
                sched_yield();
                assert_int_equal(ioctl(world->fixture->output, FIONREAD, &queued), 0);
        }
        assert_int_equal(kill(world->fixture->pid, SIGTERM), 0);
        expect_stop(world, listener);
        fd_close(wait);
        output = fixture_finish(world->fixture, &status);
        assert_int_equal(status, 128 + SIGTERM);
        assert_int_equal(fixture_count_vms(world->fixture), 0);
}

/* Runs until its vmhost is said to be silent: the vmhost's listening socket. */
static int run_silent(struct world *world, char text[static FIXTURE_TEXT_SIZE], int *ret_wait) {
        int listener = run(world, ret_wait);

        fixture_expect(world->fixture, text, "berth: the vmhost of job does not answer (since ");
        return listener;
}

/* As a vmhost leaves it, whose VM was stopped. */
static void end_vmhost(const struct world *world, int listener) {
        _cleanup_free_ char *socket = fixture_path(world->fixture, "job", "vmhost.sock");

        fixture_write(world->fixture, "job", "state.json", "{\"phase\":\"stopped\",\"last_end\":" RECORD "}");
        unlink(socket);
        fd_close(listener);
}

/* A vmhost that does not answer may do so again, and nothing is done to the VM meanwhile. */
static void test_frozen(void **state) {
        struct world *world = *state;
        _cleanup_free_ char *output = NULL;
        char text[FIXTURE_TEXT_SIZE] = "";
        int listener, wait, status;

        listener = run_silent(world, text, &wait);
        fixture_reply_last(fixture_accept(listener, FIXTURE_STATUS), RUNNING);
        fixture_expect(world->fixture, text, "berth: the vmhost of job answers again\n");
        end_vmhost(world, listener);
        fixture_reply_last(wait, END);
        output = fixture_finish(world->fixture, &status);
        assert_int_equal(status, 0);
        assert_int_equal(fixture_count_vms(world->fixture), 0);
}

/* One that is killed does not answer again. */
static void test_frozen_and_killed(void **state) {
        struct world *world = *state;
        _cleanup_free_ char *output = NULL;
        char text[FIXTURE_TEXT_SIZE] = "";
        int wait, status;

        end_vmhost(world, run_silent(world, text, &wait));
        fd_close(wait);
        output = fixture_finish(world->fixture, &status);
        assert_null(strstr(output, "answers again"));
        assert_int_equal(status, 0);
}

/* Of a signal that comes while the VM is made, nothing is left behind either. */
static void test_signal_while_made(void **state) {
        static const struct {
                const char *script;
                int status;
        } cases[] = {
                { "kill -INT $PPID; exit 0", 128 + SIGINT },
                /* A terminal's Ctrl-C is its too. */
                { "kill -INT $PPID; kill -INT $$", 128 + SIGINT },
                { "exit 1", 125 },
        };
        struct world *world = *state;
        _cleanup_free_ char *before = strdup(getenv("PATH"));
        _cleanup_free_ char *path = text_format("%s:%s", world->fixture->config, before);

        setenv("PATH", path, 1);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                write_program(world, "qemu-img", cases[i].script);
                fixture_start(world->fixture, ARGUMENTS("vm", "run", "job", "--kernel", ANY_FILE,
                                                        "--no-network", "--no-ssh", "--disk-size", "1G"));
                expect_end(world, cases[i].status);
        }
        setenv("PATH", before, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

HARNESS_MAIN(TEST(test_nobody_reads), TEST(test_signals), TEST(test_ignored_signals),
             TEST(test_signal_while_started), TEST(test_unread), TEST(test_frozen), TEST(test_frozen_and_killed),
             TEST(test_signal_while_made))
