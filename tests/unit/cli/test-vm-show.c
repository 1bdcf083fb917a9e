/* berth vm show, logs and events: what is told of one VM, or of many as it happens. */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/program.h"
#include "cli/vm-channel.h"
#include "cli/vm-clock.h"
#include "fixture.h"

static void test_show(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL;
        json_auto_t *facts = NULL;
        int listener, status;

        fixture_make_vm(fixture, "web");
        listener = fixture_listen(fixture, "web");
        fixture_start(fixture, ARGUMENTS("vm", "show", "web"));
        fixture_reply_last(
                fixture_accept(listener, "{\"method\":\"show\"}"),
                "{\"ok\":true,\"state\":\"running\",\"ssh_port\":2222,\"phase\":\"io-error\",\"pid\":77,"
                "\"message\":\"the disk is full\",\"vmhost_pid\":70,\"networks\":[{\"network\":\"lab\","
                "\"mac\":\"02:00:00:00:00:01\",\"address\":\"192.168.64.2\",\"domain\":"
                "\"berth.internal\"}],\"forwards\":[{\"protocol\":\"tcp\",\"listen_address\":"
                "\"127.0.0.1\",\"listen_port\":8080,\"port\":80}],\"restart\":{\"policy\":\"always\","
                "\"count\":3},\"shares_lost\":[\"fast\"],\"last_end\":" LAST_END "}");
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 0);
        assert_non_null(strstr(output, "\nstate         io-error: the disk is full\n"));
        assert_non_null(strstr(output, "lab: 192.168.64.2, MAC 02:00:00:00:00:01, web.berth.internal\n"));
        assert_non_null(strstr(output, "tcp 127.0.0.1 port 8080 to the VM's port 80\n"));
        assert_non_null(
                strstr(output, "share lost    fast: its virtiofsd has ended; `berth vm restart web`"));
        assert_non_null(strstr(output, "restart       always, done 3 times\n"));
        assert_non_null(strstr(output, ": QEMU was ended by signal 11 (after 5 s)\n"));
        /* What a guest printed does not drive the terminal. */
        assert_non_null(strstr(output, "?[31mred?32m\n"));
        assert_null(strchr(output, '\033'));
        /* Defaults are filled in. */
        assert_non_null(strstr(output, "\"memory_mib\": 1024"));
        assert_non_null(strstr(output, "\"hostname\": \"web\""));
        free(output);
        fd_close(listener);

        fixture_write(fixture, "web", "state.json", "{\"phase\":\"failed\",\"last_end\":" LAST_END "}");
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "show", "web", "--json"));
        assert_int_equal(status, 0);
        facts = json_loads(output, 0, NULL);
        assert_string_equal(json_string_value(json_object_get(facts, "state")), "failed");
        assert_int_equal(json_integer_value(json_object_get(json_object_get(facts, "last_end"), "signal")),
                         11);
        assert_true(json_is_object(json_object_get(facts, "configuration")));
        free(output);

        /* A file that is wrong is told of, and hides nothing. */
        fixture_write(fixture, "web", "config.json", "{\n  \"cpus\": 1,\n  oops\n}");
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "show", "web"));
        assert_int_equal(status, 1);
        assert_non_null(strstr(output, "config.json:3: "));
        assert_non_null(strstr(output, "state         failed\n"));
}

/* A vmhost that hangs hangs nobody who only asks it for something. */
static void test_hanging_vmhost(void **state) {
        static const char *const endless[] = { "/bin/sleep", "1000", NULL }, *const brief[] = { "/bin/true",
                                                                                                NULL };
        _cleanup_(program_deinit) struct program hangs = PROGRAM_INIT, ends = PROGRAM_INIT;
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL;
        int status;

        assert_int_equal(program_start(&hangs, endless, NULL), 0);
        assert_int_equal(program_await(&hangs, vm_clock_in_ms(1)), -ETIMEDOUT);
        assert_int_equal(program_start(&ends, brief, NULL), 0);
        assert_int_equal(program_await(&ends, UINT64_MAX), 0);
        assert_int_equal(program_wait(&ends), 0);

        fixture_make_vm(fixture, "web");
        fixture_write_vmhost(fixture, "exec sleep 1000");
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "show", "web"));
        assert_int_equal(status, 1);
        assert_non_null(strstr(output, "does not say what it makes of the configuration\n"));
}

static void test_logs(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL;
        int status;

        fixture_make_vm(fixture, "web");
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "logs", "web"));
        assert_int_equal(status, 1);
        assert_non_null(strstr(output, "it never ran"));
        free(output);
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "logs", "-f", "web"));
        assert_int_equal(status, 1);
        assert_non_null(strstr(output, "it never ran"));
        free(output);
        fixture_write(fixture, "web", "console.log", "one\ntwo\nthree\n");
        fixture_write(fixture, "web", "console.log.1", "zero\n");
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "logs", "-n", "2", "web"));
        assert_string_equal(output, "two\nthree\n");
        free(output);
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "logs", "-n1", "-f", "web"));
        assert_string_equal(output, "three\n");
        free(output);
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "logs", "--all", "web"));
        assert_string_equal(output, "zero\none\ntwo\nthree\n");
        free(output);
        fixture_write(fixture, "web", "console.log.1", "before\nzero\n");
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "logs", "--all", "-n", "4", "web"));
        assert_string_equal(output, "zero\none\ntwo\nthree\n");
        free(output);
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "logs", "--all", "-n", "3", "web"));
        assert_string_equal(output, "one\ntwo\nthree\n");
        free(output);
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "logs", "--all", "-n", "9", "web"));
        assert_string_equal(output, "before\nzero\none\ntwo\nthree\n");
        free(output);
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "logs", "-n", "x", "web"));
        assert_int_equal(status, 2);
        free(output);
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "logs", "-x", "web"));
        assert_int_equal(status, 2);
        assert_non_null(strstr(output, "unknown option -x"));
}

static void test_events(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL, *none = NULL;
        int web, db, a, b, status;

        none = fixture_run(fixture, &status, ARGUMENTS("vm", "events"));
        assert_int_equal(status, 1);
        assert_non_null(strstr(none, "no VM is running"));
        fixture_make_vm(fixture, "web");
        fixture_make_vm(fixture, "db");
        web = fixture_listen(fixture, "web");
        db = fixture_listen(fixture, "db");
        fixture_start(fixture, ARGUMENTS("vm", "events", "--json"));
        b = fixture_accept(db, "{\"method\":\"events\"}");
        a = fixture_accept(web, "{\"method\":\"events\"}");
        fixture_reply(a, "{\"event\":\"phase\",\"at\":1,\"phase\":\"running\"}");
        fixture_wait_readable(fixture->output);
        fixture_reply_last(a, "not JSON");
        fixture_reply_last(b, "{\"event\":\"reset\",\"at\":2}");
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 1);
        assert_non_null(
                strstr(output, "{\"event\":\"phase\",\"at\":1,\"phase\":\"running\",\"name\":\"web\"}\n"));
        assert_non_null(strstr(output, "{\"event\":\"reset\",\"at\":2,\"name\":\"db\"}\n"));
        assert_non_null(strstr(output, "berth: web: what answers is no vmhost\n"));
        free(output);

        fixture_start(fixture, ARGUMENTS("vm", "events", "web"));
        fixture_reply_last(fixture_accept(web, "{\"method\":\"events\"}"),
                           "{\"event\":\"shutdown\",\"at\":1,\"reason\":\"a\\u009b31m\\u001b[0m\",\"end\":{"
                           "\"reason\":\"b\\u009b\"}}");
        output = fixture_finish(fixture, &status);
        assert_non_null(strstr(output, " shutdown a?31m?[0m: b? (after 0 ms)\n"));
        free(output);

        /* One who sends a line without an end is not listened to any longer. */
        {
                _cleanup_free_ char *line = malloc(VM_CHANNEL_REPLY_MAX + 2 * 65536);

                memset(line, 'x', VM_CHANNEL_REPLY_MAX + 2 * 65536 - 1);
                line[VM_CHANNEL_REPLY_MAX + 2 * 65536 - 1] = '\0';
                fixture_start(fixture, ARGUMENTS("vm", "events", "web"));
                a = fixture_accept(web, "{\"method\":\"events\"}");
                for (size_t sent = 0; sent < strlen(line);) {
                        ssize_t n = send(a, line + sent, strlen(line) - sent, MSG_NOSIGNAL);

                        if (n < 0)
                                break;
                        sent += (size_t)n;
                }
                output = fixture_finish(fixture, &status);
                assert_string_equal(output, "berth: web: what answers is no vmhost\n");
                assert_int_equal(status, 1);
                fd_close(a);
        }
        fd_close(web);
        fd_close(db);
}

/* However many there are, none is left out. */
static void test_events_of_many(void **state) {
        enum { MANY = 260 };
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL;
        int listeners[MANY], status;

        for (int i = 0; i < MANY; i++) {
                _cleanup_free_ char *name = text_format("vm%03d", i);

                fixture_make_vm(fixture, name);
                listeners[i] = fixture_listen(fixture, name);
        }
        fixture_start(fixture, ARGUMENTS("vm", "events", "--json"));
        for (int i = 0; i < MANY; i++) {
                fixture_reply_last(fixture_accept(listeners[i], "{\"method\":\"events\"}"),
                                   "{\"event\":\"x\"}");
                fd_close(listeners[i]);
        }
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 0);
        for (int i = 0; i < MANY; i++) {
                _cleanup_free_ char *line = text_format("{\"event\":\"x\",\"name\":\"vm%03d\"}\n", i);

                assert_non_null(strstr(output, line));
        }
}

HARNESS_MAIN(WITH_FIXTURE(test_show), WITH_FIXTURE(test_hanging_vmhost), WITH_FIXTURE(test_logs),
             WITH_FIXTURE(test_events), WITH_FIXTURE(test_events_of_many))
