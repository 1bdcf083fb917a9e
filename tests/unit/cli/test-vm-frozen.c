/* berth vm: a vmhost that is frozen while it is waited for is told of, and not waited for without end. */
#include "harness.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "fixture.h"

#define PID "4321"
#define SILENT "the vmhost of web does not answer (pid " PID ", since "

/* After its first answers. */
static void test_frozen(void **state) {
        static const struct {
                const char *arguments[5], *request, *reply;
                bool checked; /* it is asked first whether it answers at all */
                int status;
        } cases[] = {
                { { "vm", "wait", "web" }, "{\"method\":\"wait\"}", NULL, true, 125 },
                { { "vm", "logs", "-f", "web" }, "{\"method\":\"wait\"}", NULL, true, 1 },
                { { "vm", "events", "web" },
                  "{\"method\":\"events\"}",
                  "{\"event\":\"phase\",\"phase\":\"running\",\"at\":0}",
                  false,
                  1 },
                { { "vm", "events" },
                  "{\"method\":\"events\"}",
                  "{\"event\":\"phase\",\"phase\":\"running\",\"at\":0}",
                  false,
                  1 },
        };
        struct fixture *fixtures[ARRAY_SIZE(cases)];
        int listeners[ARRAY_SIZE(cases)], connections[ARRAY_SIZE(cases)];

        /* All at once, for each of them takes its time. */
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                fixtures[i] = fixture_new();
                fixture_make_vm(fixtures[i], "web");
                fixture_write(fixtures[i], "web", "console.log", "one\n");
                fixture_write(fixtures[i], "web", "vmhost.pid", PID);
                listeners[i] = fixture_listen(fixtures[i], "web");
                fixture_start(fixtures[i], cases[i].arguments);
                if (cases[i].checked)
                        fixture_reply_last(fixture_accept(listeners[i], FIXTURE_STATUS), RUNNING);
                connections[i] = fixture_accept(listeners[i], cases[i].request);
                if (cases[i].reply)
                        fixture_reply(connections[i], cases[i].reply);
        }
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *output = NULL;
                int status;

                output = fixture_finish(fixtures[i], &status);
                if (!strstr(output, "berth: " SILENT) ||
                    !strstr(output, "`berth vm start web` starts another\n"))
                        fail_msg("%zu: %s", i, output);
                assert_int_equal(status, cases[i].status);
                fd_close(connections[i]);
                fd_close(listeners[i]);
                fixture_free(fixtures[i]);
        }
}

/* A console says so and stays, for the vmhost may go on, or be replaced. */
static void test_console(void **state) {
        struct fixture *fixture = fixture_new();
        _cleanup_free_ char *path = NULL, *socket = NULL, *rest = NULL;
        char text[FIXTURE_TEXT_SIZE] = "";
        int listener, console, viewer, question, status;

        fixture_make_vm(fixture, "web");
        fixture_write(fixture, "web", "vmhost.pid", PID);
        listener = fixture_listen(fixture, "web");
        path = fixture_path(fixture, "web", "console.sock");
        socket = fixture_path(fixture, "web", "vmhost.sock");
        console = fd_listen_unix(path, 0600);
        assert_true(console >= 0);
        fixture_start(fixture, ARGUMENTS("vm", "console", "web"));
        fixture_wait_readable(console);
        viewer = accept4(console, NULL, NULL, SOCK_CLOEXEC);
        assert_true(viewer >= 0);
        question = fixture_accept(listener, FIXTURE_STATUS);
        fixture_expect(fixture, text, "[berth: " SILENT);
        fixture_expect(fixture, text, "`berth vm start web` starts another]");
        fixture_reply_last(question, RUNNING);
        fixture_expect(fixture, text, "[berth: its vmhost answers again]");
        unlink(socket);
        fd_close(listener);
        fd_close(viewer);
        fd_close(console);
        rest = fixture_finish(fixture, &status);
        assert_int_equal(status, 0);
        fixture_free(fixture);
}

HARNESS_MAIN(cmocka_unit_test(test_frozen), cmocka_unit_test(test_console))
