/* berth vm: what its commands have in common where there is no such VM, no answer, no room. */
#include "harness.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "fixture.h"

static void test_unknown(void **state) {
        static const char *const commands[] = { "start", "stop", "restart", "kill", "rm",    "show",
                                                "wait",  "logs", "console", "ssh",  "events" };
        struct fixture *fixture = *state;

        fixture_make_vm(fixture, "web");
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
                _cleanup_free_ char *near = NULL, *far = NULL, *bad = NULL;
                int status, expected;

                near = fixture_run(fixture, &status, ARGUMENTS("vm", commands[i], "wbe"));
                expected = text_equal(commands[i], "ssh") || text_equal(commands[i], "wait") ? 125 : 1;
                assert_int_equal(status, expected);
                assert_string_equal(near, "berth: there is no VM wbe; did you mean web?\n");
                far = fixture_run(fixture, &status, ARGUMENTS("vm", commands[i], "database"));
                assert_non_null(strstr(far, "`berth vm create` makes one"));
                bad = fixture_run(fixture, &status, ARGUMENTS("vm", commands[i], "../web"));
                assert_int_equal(status, 2);
                assert_non_null(strstr(bad, "\"../web\" is no name of a VM"));
        }
}

/* Nothing waits without a word for a vmhost that is frozen. */
static void test_silent(void **state) {
        static const struct {
                const char *arguments[5], *extra;
                int requests, status;
        } cases[] = {
                { { "vm", "stop", "web" }, "berth: if it goes on, it may still stop the VM\n", 2, 1 },
                { { "vm", "kill", "web" }, "berth: if it goes on, it may still kill the VM\n", 2, 1 },
                { { "vm", "wait", "web" }, "", 1, 125 },
                { { "vm", "logs", "-f", "web" }, "one\n", 1, 1 },
                { { "vm", "events", "web" }, "", 1, 1 },
                { { "vm", "events" }, "", 1, 1 },
                { { "vm", "show", "web" }, "state         silent", 1, 0 },
        };
        struct fixture *fixtures[ARRAY_SIZE(cases)];
        int listeners[ARRAY_SIZE(cases)], connections[ARRAY_SIZE(cases)][2];

        /* All at once, for each of them waits. */
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                fixtures[i] = fixture_new();
                fixture_make_vm(fixtures[i], "web");
                fixture_write(fixtures[i], "web", "console.log", "one\n");
                listeners[i] = fixture_listen(fixtures[i], "web");
                fixture_start(fixtures[i], cases[i].arguments);
                for (int j = 0; j < cases[i].requests; j++)
                        connections[i][j] = fixture_accept(listeners[i], NULL);
        }
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *output = NULL;
                int status;

                output = fixture_finish(fixtures[i], &status);
                fixture_expect_silence(output);
                assert_non_null(strstr(output, cases[i].extra));
                assert_int_equal(status, cases[i].status);
                for (int j = 0; j < cases[i].requests; j++)
                        fd_close(connections[i][j]);
                fd_close(listeners[i]);
                fixture_free(fixtures[i]);
        }
}

#define TOO_MANY "{\"ok\":false,\"error\":\"too many clients wait or follow events already\"}"

/* With too many who wait, vmhost tells one more so, and that is no end. */
static void test_refused(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL, *lock = NULL, *socket = NULL;
        int listener, held, wait, status;

        fixture_make_vm(fixture, "web");
        fixture_write(fixture, "web", "state.json", "{\"phase\":\"stopped\",\"last_end\":" LAST_END "}");
        fixture_write(fixture, "web", "console.log", "one\n");
        listener = fixture_listen(fixture, "web");
        fixture_start(fixture, ARGUMENTS("vm", "wait", "web"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"wait\"}"), TOO_MANY);
        output = fixture_finish(fixture, &status);
        assert_string_equal(output, "berth: web: too many clients wait or follow events already\n");
        assert_int_equal(status, 125);
        free(output);

        fixture_start(fixture, ARGUMENTS("vm", "events", "web"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"events\"}"), TOO_MANY);
        output = fixture_finish(fixture, &status);
        assert_string_equal(output, "berth: web: too many clients wait or follow events already\n");
        assert_int_equal(status, 1);
        free(output);

        fixture_start(fixture, ARGUMENTS("vm", "start", "web", "--wait", "running"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"events\"}"), TOO_MANY);
        output = fixture_finish(fixture, &status);
        assert_string_equal(output, "berth: web: too many clients wait or follow events already\n");
        assert_int_equal(status, 1);
        free(output);

        /* The log is a file, and goes on; later there is room. */
        fixture_start(fixture, ARGUMENTS("vm", "logs", "-f", "web"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"wait\"}"), TOO_MANY);
        wait = fixture_accept(listener, "{\"method\":\"wait\"}");
        fixture_write(fixture, "web", "console.log", "two\n");
        fixture_reply_last(wait, "{\"ok\":true,\"end\":null}");
        output = fixture_finish(fixture, &status);
        assert_string_equal(output, "one\ntwo\n");
        assert_int_equal(status, 0);
        free(output);

        /* A stop is done all the same, and its end seen by the lock. */
        lock = fixture_path(fixture, "web", "vmhost.lock");
        socket = fixture_path(fixture, "web", "vmhost.sock");
        held = file_lock(lock, false, NULL);
        fixture_start(fixture, ARGUMENTS("vm", "stop", "web"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"wait\"}"), TOO_MANY);
        fixture_reply_last(fixture_accept(listener, NULL), "{\"ok\":true,\"state\":\"stopping\"}");
        assert_int_equal(poll(&(struct pollfd){ .fd = fixture->output, .events = POLLIN }, 1, 100), 0);
        fixture_write(fixture, "web", "state.json",
                      "{\"phase\":\"stopped\",\"last_end\":{\"by\":\"host\",\"reason\":\"it was\"}}");
        unlink(socket);
        fd_close(listener);
        fd_close(held);
        output = fixture_finish(fixture, &status);
        assert_string_equal(output, "web: it was (after 0 ms)\n");
        assert_int_equal(status, 0);
}

/* What was asked for is what is printed: where it cannot be, the command has failed. */
static void test_full_disk(void **state) {
        static const char *const cases[][4] = {
                { "--help" },
                { "--version" },
                { "vm", "--help" },
                { "vm", "ls", "--help" },
                { "vm", "ls", "--json" },
                { "vm", "ls" }, /* flushes before its end */
        };
        struct fixture *fixture = *state;

        fixture_make_vm(fixture, "web");
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_fd_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
                int status;
                pid_t pid;

                assert_true(full >= 0);
                pid = fork();
                if (pid == 0) {
                        const char *argv[8] = { BERTH };

                        memcpy(argv + 1, cases[i], sizeof(cases[i]));
                        dup2(full, STDOUT_FILENO);
                        execv(BERTH, (char **)argv);
                        _exit(99);
                }
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_int_equal(WEXITSTATUS(status), 1);
        }
}

HARNESS_MAIN(WITH_FIXTURE(test_unknown), WITH_FIXTURE(test_silent), WITH_FIXTURE(test_refused),
             WITH_FIXTURE(test_full_disk))
