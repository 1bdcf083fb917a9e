/* berth vm, against a vmhost that is played by hand over real sockets. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "cli/program.h"
#include "cli/vm-channel.h"
#include "cli/vm-clock.h"
#include "fixture.h"
#include "loop/loop.h"

static int setup(void **state) {
        *state = fixture_new();
        return 0;
}

static int teardown(void **state) {
        fixture_free(*state);
        return 0;
}

#define RUNNING                                                                                              \
        "{\"ok\":true,\"state\":\"running\",\"ssh_port\":2222,\"backend\":\"qemu\",\"phase\":\"running\","   \
        "\"pid\":77,\"uptime_ms\":61000,\"addresses\":[\"192.168.64.2\"]}"
#define LAST_END                                                                                             \
        "{\"at\":1700000000000,\"by\":\"crash\",\"stage\":\"none\",\"exit_code\":null,\"signal\":11,"        \
        "\"reason\":\"QEMU was ended by signal 11\",\"console_tail\":[\"a "                                  \
        "line\",\"\\u001b[31mred\\u009b32m\"],"                                                              \
        "\"uptime_ms\":5000}"
#define INFO "{\"method\":\"info\"}"

/* state.json of a VM that runs as this process, without a vmhost. */
static void write_run(const struct fixture *fixture, const char *vm, pid_t pid) {
        _cleanup_free_ char *text = NULL;
        uint64_t start_time;
        char boot_id[37];

        assert_int_equal(process_boot_id(boot_id), 0);
        assert_int_equal(process_start_time(pid, &start_time), 0);
        text = text_format(
                "{\"phase\":\"running\",\"run\":{\"pid\":%d,\"start_time\":%llu,\"boot_id\":\"%s\"}}",
                (int)pid, (unsigned long long)start_time, boot_id);
        fixture_write(fixture, vm, "state.json", text);
}

/* state.json of one whose run is not there any more, and what ended before it. */
#define LOST                                                                                                 \
        "{\"phase\":\"running\",\"run\":{\"pid\":1,\"start_time\":1,\"boot_id\":\"another\"},\"last_"        \
        "end\":" LAST_END "}"

static const json_t *find(const json_t *list, const char *name) {
        const json_t *vm;
        size_t i;

        json_array_foreach(list, i, vm)
                if (text_equal(json_string_value(json_object_get(vm, "name")), name))
                        return vm;
        fail_msg("no VM %s", name);
        return NULL;
}

static const char *state_of(const json_t *list, const char *name) {
        return json_string_value(json_object_get(find(list, name), "state"));
}

/* One of each kind. Those that are silent take no longer than the deadline, however they are silent. */
static void test_ls(void **state) {
        static const char *const names[] = { "deaf",   "early", "ended", "full",  "junk",
                                             "orphan", "stale", "up",    "waits", "lost" };
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL;
        int listeners[ARRAY_SIZE(names)], fillers[64], accepted, status;
        size_t n_fillers = 0;
        json_auto_t *list = NULL;

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                fixture_make_vm(fixture, names[i]);
                listeners[i] = text_equal(names[i], "ended") || text_equal(names[i], "orphan") ||
                                               text_equal(names[i], "lost")
                                       ? -1
                                       : fixture_listen(fixture, names[i]);
        }
        /* Nobody accepts any more, and the queue is full: a connect(2) that waits would wait for ever. */
        listen(listeners[3], 0);
        for (bool full = false; !full && n_fillers < ARRAY_SIZE(fillers);) {
                _cleanup_free_ char *path = fixture_path(fixture, "full", "");
                int fd = vm_connect(path, "vmhost.sock");

                full = fd < 0;
                if (!full)
                        fillers[n_fillers++] = fd;
        }
        fixture_write(fixture, "ended", "state.json",
                      "{\"phase\":\"failed\",\"run\":null,\"last_end\":" LAST_END "}");
        fixture_write(fixture, "lost", "state.json", LOST);
        write_run(fixture, "orphan", getpid());
        listeners[6] = fd_close(listeners[6]);

        fixture_start(fixture, ARGUMENTS("vm", "ls", "--json"));
        fixture_reply_last(fixture_accept(listeners[7], INFO), RUNNING);
        fixture_reply_last(fixture_accept(listeners[1], INFO),
                           "{\"ok\":false,\"error\":\"the VM is not up yet: networks\",\"backend\":\"qemu\","
                           "\"phase\":\"preparing\",\"message\":\"networks\"}");
        fixture_reply_last(fixture_accept(listeners[8], INFO),
                           "{\"ok\":false,\"error\":\"the VM ended (x) and is started again in 900 ms\","
                           "\"phase\":\"failed\",\"message\":\"x\"}");
        fixture_reply_last(fixture_accept(listeners[4], INFO), "junk");
        accepted = fixture_accept(listeners[0], INFO);
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 0);
        fd_close(accepted);

        list = json_loads(output, 0, NULL);
        assert_int_equal(json_array_size(list), ARRAY_SIZE(names));
        assert_string_equal(state_of(list, "deaf"), "silent");
        assert_string_equal(state_of(list, "full"), "silent");
        assert_string_equal(state_of(list, "junk"), "silent");
        assert_string_equal(state_of(list, "ended"), "failed");
        assert_string_equal(state_of(list, "lost"), "failed");
        assert_string_equal(
                json_string_value(json_object_get(json_object_get(find(list, "lost"), "last_end"), "by")),
                "unknown");
        assert_string_equal(state_of(list, "orphan"), "orphaned");
        assert_int_equal(json_integer_value(json_object_get(find(list, "orphan"), "pid")), getpid());
        assert_string_equal(state_of(list, "stale"), "stopped");
        assert_string_equal(state_of(list, "early"), "starting");
        assert_string_equal(state_of(list, "waits"), "restarting");
        assert_string_equal(state_of(list, "up"), "running");
        assert_int_equal(json_integer_value(json_object_get(find(list, "up"), "ssh_port")), 2222);
        assert_null(json_object_get(find(list, "up"), "ok"));
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                fd_close(listeners[i]);
        for (size_t i = 0; i < n_fillers; i++)
                fd_close(fillers[i]);
}

/* What is wrong, and what to do about it. */
static void expect_silence(const char *output) {
        if (!strstr(output, "berth: the vmhost of web does not answer\nberth: /"))
                print_error("no silence in: %s", output);
        assert_non_null(strstr(output, "berth: the vmhost of web does not answer\nberth: /"));
        assert_non_null(strstr(output,
                               "/vms/web/vmhost.log may say why; killed, it leaves the VM running, and "
                               "`berth vm start web` starts another\n"));
}

/* Where nobody answers, the deadline is a longer one. */
static void test_ls_all_silent(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL;
        int listener, accepted, status;

        fixture_make_vm(fixture, "web");
        listener = fixture_listen(fixture, "web");
        fixture_start(fixture, ARGUMENTS("vm", "ls"));
        accepted = fixture_accept(listener, INFO);
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 0);
        assert_non_null(strstr(output, "web  silent "));
        expect_silence(output);
        fd_close(accepted);
        fd_close(listener);
}

/* A QEMU that has ended and that nobody reaps does not run. */
static void test_zombie(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *listed = NULL, *waited = NULL, *removed = NULL;
        json_auto_t *list = NULL;
        siginfo_t info;
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
                _exit(0);
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
        fixture_make_vm(fixture, "web");
        write_run(fixture, "web", pid);
        listed = fixture_run(fixture, &status, ARGUMENTS("vm", "ls", "--json"));
        list = json_loads(listed, 0, NULL);
        assert_string_not_equal(state_of(list, "web"), "orphaned");
        waited = fixture_run(fixture, &status, ARGUMENTS("vm", "wait", "web"));
        assert_non_null(strstr(waited, "ended while no vmhost ran"));
        removed = fixture_run(fixture, &status, ARGUMENTS("vm", "rm", "web"));
        assert_int_equal(status, 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_ls_table(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *empty = NULL, *output = NULL, *names = NULL;
        int listener, status;

        empty = fixture_run(fixture, &status, ARGUMENTS("vm", "ls"));
        assert_int_equal(status, 0);
        assert_string_equal(empty, "There are no VMs. `berth vm create` makes one.\n");
        fixture_make_vm(fixture, "web");
        fixture_make_vm(fixture, "db");
        fixture_write(fixture, "db", "state.json", "{\"phase\":\"failed\",\"last_end\":" LAST_END "}");
        listener = fixture_listen(fixture, "web");
        fixture_start(fixture, ARGUMENTS("vm", "ls"));
        fixture_reply_last(fixture_accept(listener, INFO), RUNNING);
        output = fixture_finish(fixture, &status);
        assert_string_equal(
                output,
                "VM   STATE       UPTIME  ADDRESSES     SSH PORT  LAST END\n"
                "db   failed           -  -                    -  QEMU was ended by signal 11 (after 5 s)\n"
                "web  running  1 min 1 s  192.168.64.2      2222  -\n");
        names = fixture_run(fixture, &status, ARGUMENTS("vm", "ls", "--names"));
        assert_string_equal(names, "db\nweb\n");
        fd_close(listener);
}

/* The end is waited for before it is asked for, and the lock is free before it is told. */
static void test_stop(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL, *lock = NULL, *socket = NULL;
        int listener, wait, held, status;

        fixture_make_vm(fixture, "web");
        listener = fixture_listen(fixture, "web");
        lock = fixture_path(fixture, "web", "vmhost.lock");
        socket = fixture_path(fixture, "web", "vmhost.sock");
        held = file_lock(lock, false, NULL);
        fixture_start(fixture, ARGUMENTS("vm", "stop", "web", "--timeout", "7"));
        wait = fixture_accept(listener, "{\"method\":\"wait\"}");
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"stop\",\"timeout_seconds\":7}"),
                           "{\"ok\":true,\"state\":\"stopping\"}");
        fixture_reply_last(wait,
                           "{\"ok\":true,\"state\":\"stopped\",\"end\":{\"by\":\"host\",\"stage\":\"acpi\","
                           "\"reason\":\"stopped on request (acpi)\",\"uptime_ms\":9000}}");
        unlink(socket);
        fd_close(listener);
        assert_int_equal(poll(&(struct pollfd){ .fd = fixture->output, .events = POLLIN }, 1, 100), 0);
        fd_close(held);
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 0);
        assert_string_equal(output, "web: stopped on request (acpi) (after 9 s)\n");
        free(output);

        output = fixture_run(fixture, &status, ARGUMENTS("vm", "stop", "web"));
        assert_int_equal(status, 0);
        assert_string_equal(output, "web is not running.\n");
}

static void test_stop_default(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL;
        int listener, wait, status;

        fixture_make_vm(fixture, "web");
        fixture_write(fixture, "web", "config.json", "{\"stop_timeout_seconds\":11}");
        listener = fixture_listen(fixture, "web");
        fixture_start(fixture, ARGUMENTS("vm", "stop", "web", "--no-wait"));
        wait = fixture_accept(listener, "{\"method\":\"wait\"}");
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"stop\",\"timeout_seconds\":11}"),
                           "{\"ok\":true,\"state\":\"stopping\"}");
        output = fixture_finish(fixture, &status);
        assert_string_equal(output, "web is being stopped.\n");
        fd_close(wait);
        free(output);

        fixture_start(fixture, ARGUMENTS("vm", "kill", "web", "--json"));
        wait = fixture_accept(listener, "{\"method\":\"wait\"}");
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"force_stop\"}"),
                           "{\"ok\":true,\"state\":\"stopping\"}");
        fixture_reply_last(wait, "{\"ok\":true,\"end\":{\"by\":\"host\"}}");
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 0);
        assert_non_null(strstr(output, "\"was_running\": true"));
        fd_close(listener);
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
                expect_silence(output);
                assert_non_null(strstr(output, cases[i].extra));
                assert_int_equal(status, cases[i].status);
                for (int j = 0; j < cases[i].requests; j++)
                        fd_close(connections[i][j]);
                fd_close(listeners[i]);
                fixture_free(fixtures[i]);
        }
}

static void test_wait(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL, *never = NULL;
        int listener, status;

        fixture_make_vm(fixture, "web");
        never = fixture_run(fixture, &status, ARGUMENTS("vm", "wait", "web"));
        assert_int_equal(status, 125);
        assert_string_equal(never, "berth: VM web never ran\n");
        fixture_make_vm(fixture, "lost");
        fixture_write(fixture, "lost", "state.json", LOST);
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "wait", "lost"));
        assert_string_equal(
                output, "lost: it ended while no vmhost ran; this is when that was noticed (after 0 ms)\n");
        assert_int_equal(status, 1);
        free(output);
        listener = fixture_listen(fixture, "web");
        fixture_start(fixture, ARGUMENTS("vm", "wait", "web"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"wait\"}"),
                           "{\"ok\":true,\"state\":\"error\",\"end\":" LAST_END "}");
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 139);
        assert_string_equal(output, "web: QEMU was ended by signal 11 (after 5 s)\n");
        free(output);

        fixture_start(fixture, ARGUMENTS("vm", "wait", "web", "--timeout", "1"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        int held = fixture_accept(listener, "{\"method\":\"wait\"}");
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 125);
        assert_string_equal(output, "berth: VM web has not ended within that time\n");
        fd_close(held);
        fd_close(listener);
}

static void test_cont(void **state) {
        struct fixture *fixture = *state;
        char *output;
        int listener, status;

        fixture_make_vm(fixture, "web");
        listener = fixture_listen(fixture, "web");
        fixture_start(fixture, ARGUMENTS("vm", "cont", "web"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"cont\"}"),
                           "{\"ok\":true,\"state\":\"running\"}");
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 0);
        assert_string_equal(output, "web goes on.\n");
        free(output);

        fixture_start(fixture, ARGUMENTS("vm", "cont", "web"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"cont\"}"),
                           "{\"ok\":false,\"error\":\"the VM is not paused but running\"}");
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 1);
        assert_string_equal(output, "berth: web: the VM is not paused but running\n");
        free(output);
        fd_close(listener);
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

/* ---- Starting ---- */

/* A vmhost that is a script: what it does before it detaches itself. */
static void write_vmhost(const struct fixture *fixture, const char *script) {
        _cleanup_free_ char *path = text_format("%s/vmhost", fixture->config);
        _cleanup_free_ char *text = text_format("#!/bin/sh\n%s\n", script);

        assert_int_equal(file_write(path, text, strlen(text), 0755, false, NULL), 0);
        setenv("BERTH_VMHOST", path, 1);
}

/* One whose QEMU dies between the look at it and its adoption was ended by somebody else, and stays so. */
static void test_stop_orphan_gone(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL;
        int status;

        fixture_make_vm(fixture, "web");
        write_run(fixture, "web", getpid());
        write_vmhost(fixture, "case \"$*\" in *' --adopt'*) status=4 ;; *) status=9 ;; esac\n"
                              "echo '{\"run\":null}' >\"${0%/*}/vms/web/state.json\"\n"
                              "echo 'vmhost: the VM has just ended' >&2; exit $status");
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "stop", "web"));
        assert_string_equal(output, "web is not running.\n");
        assert_int_equal(status, 0);
}

static void test_start_fails(void **state) {
        static const struct {
                const char *script, *expected;
        } cases[] = {
                { "echo 'vmhost: config.json:3: what?' >&2; exit 1",
                  "VM web did not start: config.json:3: what?\n" },
                { "echo 'vmhost: a'; echo 'vmhost: there is no room' >&2; echo 'make some' >&2; exit 1",
                  "VM web did not start: there is no room\nberth: make some\n" },
                { "echo first >&2; echo last >&2; exit 5", "VM web did not start: last\n" },
                { "exit 1", "its vmhost ended without a word\n" },
                { "kill -9 $$", "its vmhost ended without a word\n" },
        };
        struct fixture *fixture = *state;

        fixture_make_vm(fixture, "web");
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *output = NULL;
                int status;

                write_vmhost(fixture, cases[i].script);
                output = fixture_run(fixture, &status, ARGUMENTS("vm", "start", "web"));
                assert_int_equal(status, 1);
                assert_non_null(strstr(output, cases[i].expected));
        }
        setenv("BERTH_VMHOST", "/nowhere/vmhost", 1);
        {
                int status;
                _cleanup_free_ char *output = fixture_run(fixture, &status, ARGUMENTS("vm", "start", "web"));

                assert_int_equal(status, 1);
                assert_non_null(strstr(output, "BERTH_VMHOST=/nowhere/vmhost: there is no such program\n"));
        }
        {
                _cleanup_free_ char *path = text_format("%s/vmhost", fixture->config), *output = NULL;
                _cleanup_free_ char *expected = text_format(
                        "VM web did not start: cannot run %s: No such file or directory\n", path);
                int status;

                /* It is there, and what would run it is not. */
                assert_int_equal(file_write(path, "#!/nowhere\n", 11, 0755, false, NULL), 0);
                setenv("BERTH_VMHOST", path, 1);
                output = fixture_run(fixture, &status, ARGUMENTS("vm", "start", "web"));
                assert_int_equal(status, 1);
                assert_non_null(strstr(output, expected));
        }
}

/* What the caller of berth holds, a lock perhaps, does not become vmhost's. */
static void test_start_inherits_nothing(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL;
        int status;

        fixture_make_vm(fixture, "web");
        write_vmhost(fixture, "[ -e /proc/$$/fd/77 ] && echo 'vmhost: inherited' >&2; exit 1");
        assert_int_equal(dup2(STDERR_FILENO, 77), 77);
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "start", "web"));
        fd_close(77);
        assert_non_null(strstr(output, "its vmhost ended without a word\n"));
}

static int listen_tcp(uint16_t *ret_port) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t size = sizeof(address);

        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 8), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
        *ret_port = ntohs(address.sin_port);
        return fd;
}

/* Takes a connection and resets it, as the forward does where the guest refuses. */
static void refuse(int server) {
        int fd;

        fixture_wait_readable(server);
        fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 },
                                    sizeof(struct linger)),
                         0);
        fd_close(fd);
}

static void greet(int server) {
        int fd;

        fixture_wait_readable(server);
        fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
        assert_int_equal(write(fd, "SSH-2.0-test\r\n", 14), 14);
        fd_close(fd);
}

/* From the launch to the ssh server's greeting; then the times are told in the order in which it happened. */
static void test_start(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL, *answer = NULL, *seen = NULL, *path = NULL, *go = NULL;
        json_auto_t *result = NULL;
        const json_t *steps;
        int listener, server, events, info, status;
        uint16_t port;
        size_t size;

        fixture_make_vm(fixture, "web");
        server = listen_tcp(&port);
        listener = fixture_listen(fixture, "web");
        go = fixture_path(fixture, "web", "go");
        path = text_format("%s/arguments", fixture->config);
        /* It detaches itself when the file is there; the socket is there from the beginning, and dead till
         * then. */
        answer = text_format("echo \"$@\" >%s; while ! [ -e %s ]; do sleep 0.02; done", path, go);
        write_vmhost(fixture, answer);
        free(answer);
        {
                _cleanup_free_ char *socket = fixture_path(fixture, "web", "vmhost.sock");

                fd_close(listener);
                unlink(socket);
                fixture_start(fixture, ARGUMENTS("vm", "start", "web", "--wait", "ssh", "--json"));
                /* Its program runs: it writes its arguments. */
                while (access(path, F_OK) < 0)
                        poll(NULL, 0, 5);
                listener = fixture_listen(fixture, "web");
        }
        events = fixture_accept(listener, "{\"method\":\"events\"}");
        fixture_reply(events,
                      "{\"event\":\"phase\",\"at\":1,\"phase\":\"preparing\",\"message\":\"networks\"}");
        fixture_reply(events, "{\"event\":\"step\",\"step\":\"forwards\"}");
        fixture_reply(events, "{\"event\":\"step\",\"step\":\"qemu\"}");
        fixture_reply(events, "{\"event\":\"phase\",\"phase\":\"booting\"}");
        fixture_write(fixture, "web", "go", "");
        info = fixture_accept(listener, INFO);
        answer = text_format("{\"ok\":true,\"state\":\"running\",\"ssh_port\":%u}", port);
        fixture_reply_last(info, answer);
        refuse(server);
        refuse(server);
        greet(server);
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 0);
        result = json_loads(output, 0, NULL);
        assert_true(json_is_false(json_object_get(result, "was_running")));
        steps = json_object_get(result, "steps_ms");
        assert_int_equal(json_object_size(steps), 5);
        assert_true(json_integer_value(json_object_get(steps, "qemu")) <=
                    json_integer_value(json_object_get(steps, "address")));
        assert_true(json_integer_value(json_object_get(steps, "address")) <
                    json_integer_value(json_object_get(steps, "ssh")));
        assert_int_equal(file_read(path, 4096, &seen, &size, NULL), 0);
        free(answer);
        answer = text_format("--name web --backend qemu --config-dir %s\n", fixture->config);
        assert_string_equal(seen, answer);
        fd_close(events);
        fd_close(listener);
        fd_close(server);
}

/* A stop that is under way is for good, and the start comes after it. */
static void test_start_stopping(void **state) {
        static const char stopping[] = "{\"ok\":true,\"state\":\"running\",\"phase\":\"stopping\"}";
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL, *socket = NULL, *seen = NULL;
        int listener, wait, status;

        fixture_make_vm(fixture, "web");
        socket = fixture_path(fixture, "web", "vmhost.sock");
        seen = fixture_path(fixture, "web", "seen");
        listener = fixture_listen(fixture, "web");
        write_vmhost(fixture, "echo >\"${0%/*}/vms/web/seen\"");
        fixture_start(fixture, ARGUMENTS("vm", "start", "web", "--timeout", "1"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), stopping);
        wait = fixture_accept(listener, "{\"method\":\"wait\"}");
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 1);
        assert_non_null(strstr(output, "VM web is being stopped, and that is not over; it is not started\n"));
        assert_int_equal(access(seen, F_OK), -1);
        fd_close(wait);
        free(output);

        fixture_start(fixture, ARGUMENTS("vm", "start", "web"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), stopping);
        wait = fixture_accept(listener, "{\"method\":\"wait\"}");
        unlink(socket);
        fd_close(listener);
        fixture_reply_last(wait, "{\"ok\":true,\"state\":\"stopped\",\"end\":null}");
        output = fixture_finish(fixture, &status);
        assert_string_equal(output, "");
        assert_int_equal(status, 0);
        assert_int_equal(access(seen, F_OK), 0);
}

/* Of two starts at once one is first, and the other is content. */
static void test_start_second(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL, *go = NULL, *socket = NULL, *begun = NULL, *script = NULL;
        int listener, events, status;

        fixture_make_vm(fixture, "web");
        go = fixture_path(fixture, "web", "go");
        begun = fixture_path(fixture, "web", "begun");
        socket = fixture_path(fixture, "web", "vmhost.sock");
        /* The other one gets its socket some time after its lock. */
        script = text_format("echo >>%s; while ! [ -e %s ]; do sleep 0.02; done\n"
                             "echo 'vmhost: VM \"web\" has a vmhost already, process 7' >&2; exit 3",
                             begun, go);
        write_vmhost(fixture, script);
        fixture_start(fixture, ARGUMENTS("vm", "start", "web"));
        while (access(begun, F_OK) < 0)
                poll(NULL, 0, 5);
        unlink(begun);
        fixture_write(fixture, "web", "go", "");
        /* It looks again. */
        while (access(begun, F_OK) < 0)
                poll(NULL, 0, 5);
        listener = fixture_listen(fixture, "web");
        events = -1;
        for (int fd; events < 0;) {
                char request[64] = "";

                fixture_wait_readable(listener);
                fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                if (read(fd, request, sizeof(request) - 1) > 0 && strstr(request, "events"))
                        events = fd;
                else if (strstr(request, "status"))
                        fixture_reply_last(fd, RUNNING);
                else
                        fd_close(fd);
        }
        fixture_reply(events, "{\"event\":\"phase\",\"phase\":\"running\"}");
        output = fixture_finish(fixture, &status);
        assert_string_equal(output, "berth: web is running already\n");
        assert_int_equal(status, 0);
        fd_close(events);
        fd_close(listener);
}

/* One that is up is not started, only waited for; one that ends meanwhile is not waited for. */
static void test_start_running(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL;
        int listener, events, status;

        fixture_make_vm(fixture, "web");
        setenv("BERTH_VMHOST", "/nowhere", 1);
        listener = fixture_listen(fixture, "web");
        fixture_start(fixture, ARGUMENTS("vm", "start", "web", "--wait", "running"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        events = fixture_accept(listener, "{\"method\":\"events\"}");
        fixture_reply(events, "{\"event\":\"phase\",\"phase\":\"booting\"}");
        fixture_reply(events, "{\"event\":\"phase\",\"phase\":\"running\"}");
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 0);
        assert_string_equal(output, "berth: web is running already\n");
        fd_close(events);
        free(output);

        fixture_start(fixture, ARGUMENTS("vm", "start", "web", "--wait", "running"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        events = fixture_accept(listener, "{\"method\":\"events\"}");
        fixture_write(fixture, "web", "state.json", "{\"phase\":\"failed\",\"last_end\":" LAST_END "}");
        fixture_reply(events, "{\"event\":\"phase\",\"phase\":\"booting\"}");
        fixture_reply(events, "{\"event\":\"end\",\"end\":null}");
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 1);
        assert_non_null(strstr(output, "VM web ended: QEMU was ended by signal 11 (after 5 s)\n"));
        fd_close(events);
        free(output);

        /* Its vmhost is killed, and the VM runs on: that is no end. */
        fixture_start(fixture, ARGUMENTS("vm", "start", "web", "--wait", "running"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        events = fixture_accept(listener, "{\"method\":\"events\"}");
        write_run(fixture, "web", getpid());
        fd_close(listener);
        fd_close(events);
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 1);
        assert_string_equal(output,
                            "berth: VM web runs, but its vmhost was killed\n"
                            "berth: `berth vm start web` gives it a new one, and does not disturb it\n");
}

/* One reset alone may be the end of the kernel's patience with a guest that is not there; a second one that
 * comes at once is the guest's. */
static void test_start_address(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL, *answer = NULL;
        int listener, server, events, status;
        uint16_t port;

        fixture_make_vm(fixture, "web");
        server = listen_tcp(&port);
        answer = text_format("{\"ok\":true,\"state\":\"running\",\"ssh_port\":%u}", port);
        listener = fixture_listen(fixture, "web");
        fixture_start(fixture, ARGUMENTS("vm", "start", "web", "--wait", "address"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        events = fixture_accept(listener, "{\"method\":\"events\"}");
        fixture_reply(events, "{\"event\":\"phase\",\"phase\":\"booting\"}");
        fixture_reply_last(fixture_accept(listener, INFO), answer);
        refuse(server);
        refuse(server);
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 0);
        fd_close(events);
        fd_close(listener);
        fd_close(server);
}

/* On a terminal, with a key, ssh is waited for; a VM that has no port for it is up when QEMU runs. */
static void test_start_without_port(void **state) {
        struct fixture *fixture = *state;
        int listener, events, master, slave, status;
        pid_t pid;

        fixture_make_vm(fixture, "web");
        fixture_write(fixture, "web", "identities", "/nowhere/key\n");
        listener = fixture_listen(fixture, "web");
        assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                dup2(slave, STDOUT_FILENO);
                dup2(slave, STDERR_FILENO);
                execl(BERTH, BERTH, "vm", "start", "web", (char *)NULL);
                _exit(99);
        }
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        events = fixture_accept(listener, "{\"method\":\"events\"}");
        fixture_reply(events, "{\"event\":\"phase\",\"phase\":\"booting\"}");
        fixture_reply_last(fixture_accept(listener, INFO), "{\"ok\":true,\"state\":\"running\"}");
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WEXITSTATUS(status), 0);
        fd_close(events);
        fd_close(listener);
        fd_close(master);
        fd_close(slave);
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
        write_vmhost(fixture, "exec sleep 1000");
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "show", "web"));
        assert_int_equal(status, 1);
        assert_non_null(strstr(output, "does not say what it makes of the configuration\n"));
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

/* ---- Ssh, by a program of that name that tells how it was called ---- */

static void write_ssh(const struct fixture *fixture) {
        static const char script[] = "#!/bin/sh\nfor word; do printf '<%s>\\n' \"$word\"; done\nexit 7\n";
        _cleanup_free_ char *path = text_format("%s/ssh", fixture->config), *search = NULL;

        assert_int_equal(file_write(path, script, strlen(script), 0755, false, NULL), 0);
        search = text_format("%s:%s", fixture->config, getenv("PATH"));
        setenv("PATH", search, 1);
}

static void test_ssh(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL, *answer = NULL, *identity = NULL, *expected = NULL, *list = NULL;
        int listener, server, status;
        uint16_t port;

        fixture_make_vm(fixture, "web");
        identity = fixture_path(fixture, "web", "a key");
        list = text_format("%s\n/nowhere/key\n", identity);
        fixture_write(fixture, "web", "identities", list);
        fixture_write(fixture, "web", "config.json", "{\"kernel\":\"/x\",\"ssh_user\":\"admin\"}");
        write_ssh(fixture);
        server = listen_tcp(&port);
        listener = fixture_listen(fixture, "web");
        answer = text_format("{\"ok\":true,\"state\":\"running\",\"ssh_port\":%u}", port);

        fixture_start(fixture, ARGUMENTS("vm", "ssh", "web", "ls", "-l"));
        fixture_reply_last(fixture_accept(listener, INFO),
                           "{\"ok\":false,\"error\":\"the VM is not up yet\"}");
        fixture_reply_last(fixture_accept(listener, INFO), answer);
        refuse(server);
        fixture_reply_last(fixture_accept(listener, INFO), answer);
        greet(server);
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 7);
        expected = text_format(
                "<-p>\n<%u>\n<-oUserKnownHostsFile=\"%s/vms/web/known_hosts\">\n<-oHostKeyAlias=web>\n"
                "<-oStrictHostKeyChecking=accept-new>\n",
                port, fixture->config);
        assert_true(text_starts_with(output, expected));
        assert_non_null(strstr(output, "/vms/web/a key>\n"));
        assert_non_null(strstr(output, "<-l>\n<admin>\n<127.0.0.1>\n<-->\n<ls>\n<-l>\n"));
        free(output);

        fixture_start(fixture, ARGUMENTS("vm", "exec", "--user", "root", "web", "--", "printf", "%s", "it's",
                                         "a b", ""));
        fixture_reply_last(fixture_accept(listener, INFO), answer);
        greet(server);
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 7);
        assert_non_null(strstr(output, "<-oBatchMode=yes>\n"));
        assert_non_null(strstr(output, "<-l>\n<root>\n<127.0.0.1>\n<-->\n<printf %s 'it'\\''s' 'a b' ''>\n"));
        free(output);

        /* What looks like an option of ssh's is not read as one. */
        fixture_start(fixture, ARGUMENTS("vm", "exec", "web", "--", "-oProxyCommand=/tmp/evil"));
        fixture_reply_last(fixture_accept(listener, INFO), answer);
        greet(server);
        output = fixture_finish(fixture, &status);
        assert_non_null(strstr(output, "<127.0.0.1>\n<-->\n<-oProxyCommand=/tmp/evil>\n"));
        free(output);
        fixture_start(fixture, ARGUMENTS("vm", "ssh", "web", "--", "-oProxyCommand=/tmp/evil"));
        fixture_reply_last(fixture_accept(listener, INFO), answer);
        greet(server);
        output = fixture_finish(fixture, &status);
        assert_non_null(strstr(output, "<127.0.0.1>\n<-->\n<-oProxyCommand=/tmp/evil>\n"));
        free(output);

        fixture_start(fixture, ARGUMENTS("vm", "ssh", "web"));
        fixture_reply_last(fixture_accept(listener, INFO), "{\"ok\":true,\"state\":\"running\"}");
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 125);
        assert_non_null(strstr(output, "VM web has no port for ssh"));
        fd_close(listener);
        fd_close(server);
}

/* 127 would be the command's own. */
static void test_no_ssh(void **state) {
        static const char *const commands[] = { "ssh", "exec" };
        struct fixture *fixture = *state;
        _cleanup_free_ char *before = strdup(getenv("PATH"));

        fixture_make_vm(fixture, "web");
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
                _cleanup_free_ char *output = NULL;
                int status;

                setenv("PATH", fixture->config, 1);
                output = fixture_run(fixture, &status, ARGUMENTS("vm", commands[i], "web", "true"));
                setenv("PATH", before, 1);
                assert_int_equal(status, 125);
                assert_non_null(strstr(output, "ssh is not installed"));
                assert_non_null(strstr(output, "\nberth: it is in the package openssh-client"));
        }
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

HARNESS_MAIN(TEST(test_ls), TEST(test_ls_all_silent), TEST(test_zombie), TEST(test_ls_table), TEST(test_stop),
             TEST(test_stop_default), TEST(test_silent), TEST(test_refused), TEST(test_stop_orphan_gone),
             TEST(test_wait), TEST(test_cont), TEST(test_show), TEST(test_unknown), TEST(test_start_fails),
             TEST(test_start_inherits_nothing), TEST(test_start), TEST(test_start_stopping),
             TEST(test_start_second), TEST(test_start_running), TEST(test_start_address),
             TEST(test_hanging_vmhost), TEST(test_start_without_port), TEST(test_events),
             TEST(test_events_of_many), TEST(test_ssh), TEST(test_no_ssh), TEST(test_logs),
             TEST(test_full_disk))
