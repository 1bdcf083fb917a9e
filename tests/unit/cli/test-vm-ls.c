/* berth vm ls: what is told of VMs that run, have ended, or do not answer. */
#include "harness.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/vm-channel.h"
#include "cli/vm-survey.h"
#include "fixture.h"
#include "loop/loop.h"

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

/* Answers `info`; where berth does not wait any longer, nobody. */
static void answer(int listener, const char *line) {
        _cleanup_free_ char *text = text_format("%s\n", line);
        int connection = fixture_accept(listener, INFO);

        send(connection, text, strlen(text), MSG_NOSIGNAL);
        fd_close(connection);
}

/* Whether berth, which was started then, may have given up on what answers only now: on a busy machine it is
 * asked again. What came sooner must be told. */
static bool is_late(uint64_t started) {
        return loop_now() - started >= SURVEY_SOFT_MS * 1000;
}

enum { DEAF, EARLY, ENDED, FULL, JUNK, ORPHAN, STALE, UP, WAITS, LOST_RUN, KINDS };
static const char *const kinds[] = {
        [DEAF] = "deaf",     [EARLY] = "early", [ENDED] = "ended", [FULL] = "full",   [JUNK] = "junk",
        [ORPHAN] = "orphan", [STALE] = "stale", [UP] = "up",       [WAITS] = "waits", [LOST_RUN] = "lost"
};

/* What is said of them, to be released. */
static json_t *list_kinds(struct fixture *fixture, const int *listeners) {
        for (;;) {
                _cleanup_free_ char *output = NULL;
                uint64_t started = loop_now();
                json_auto_t *list = NULL;
                bool late;
                int accepted, status;

                fixture_start(fixture, ARGUMENTS("vm", "ls", "--json"));
                answer(listeners[UP], RUNNING);
                answer(listeners[EARLY],
                       "{\"ok\":false,\"error\":\"the VM is not up yet: networks\",\"backend\":\"qemu\","
                       "\"phase\":\"preparing\",\"message\":\"networks\"}");
                answer(listeners[WAITS],
                       "{\"ok\":false,\"error\":\"the VM ended (x) and is started again in 900 ms\","
                       "\"phase\":\"failed\",\"message\":\"x\"}");
                late = is_late(started);
                answer(listeners[JUNK], "junk");
                accepted = fixture_accept(listeners[DEAF], INFO);
                output = fixture_finish(fixture, &status);
                assert_int_equal(status, 0);
                fd_close(accepted);
                list = json_loads(output, 0, NULL);
                assert_int_equal(json_array_size(list), KINDS);
                if (!late || !(text_equal(state_of(list, "up"), "silent") ||
                               text_equal(state_of(list, "early"), "silent") ||
                               text_equal(state_of(list, "waits"), "silent")))
                        return steal_ptr(list);
        }
}

/* One of each kind. Those that are silent take no longer than the deadline, however they are silent. */
static void test_ls(void **state) {
        struct fixture *fixture = *state;
        int listeners[KINDS], fillers[64];
        size_t n_fillers = 0;
        json_auto_t *list = NULL;

        for (size_t i = 0; i < KINDS; i++) {
                bool hosted = i != ENDED && i != ORPHAN && i != LOST_RUN;

                fixture_make_vm(fixture, kinds[i]);
                listeners[i] = hosted ? fixture_listen(fixture, kinds[i]) : -1;
        }
        /* Nobody accepts any more, and the queue is full: a connect(2) that waits would wait for ever. */
        listen(listeners[FULL], 0);
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
        fixture_write_run(fixture, "orphan", getpid());
        listeners[STALE] = fd_close(listeners[STALE]);

        list = list_kinds(fixture, listeners);
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
        for (size_t i = 0; i < KINDS; i++)
                fd_close(listeners[i]);
        for (size_t i = 0; i < n_fillers; i++)
                fd_close(fillers[i]);
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
        fixture_expect_silence(output);
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
        fixture_write_run(fixture, "web", pid);
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
        bool late;

        empty = fixture_run(fixture, &status, ARGUMENTS("vm", "ls"));
        assert_int_equal(status, 0);
        assert_string_equal(empty, "There are no VMs. `berth vm create` makes one.\n");
        fixture_make_vm(fixture, "web");
        fixture_make_vm(fixture, "db");
        fixture_write(fixture, "db", "state.json", "{\"phase\":\"failed\",\"last_end\":" LAST_END "}");
        listener = fixture_listen(fixture, "web");
        do {
                uint64_t started = loop_now();

                free(output);
                fixture_start(fixture, ARGUMENTS("vm", "ls"));
                answer(listener, RUNNING);
                late = is_late(started);
                output = fixture_finish(fixture, &status);
        } while (late && strstr(output, "silent"));
        assert_string_equal(
                output,
                "VM   STATE       UPTIME  ADDRESSES     SSH PORT  LAST END\n"
                "db   failed           -  -                    -  QEMU was ended by signal 11 (after 5 s)\n"
                "web  running  1 min 1 s  192.168.64.2      2222  -\n");
        names = fixture_run(fixture, &status, ARGUMENTS("vm", "ls", "--names"));
        assert_string_equal(names, "db\nweb\n");
        fd_close(listener);
}

HARNESS_MAIN(WITH_FIXTURE(test_ls), WITH_FIXTURE(test_ls_all_silent), WITH_FIXTURE(test_zombie),
             WITH_FIXTURE(test_ls_table))
