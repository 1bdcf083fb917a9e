/* berth vm stop, kill, wait and cont, against a vmhost that is played by hand. */
#include "harness.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "fixture.h"

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

/* One whose QEMU dies between the look at it and its adoption was ended by somebody else, and stays so. */
static void test_stop_orphan_gone(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL;
        int status;

        fixture_make_vm(fixture, "web");
        fixture_write_run(fixture, "web", getpid());
        fixture_write_vmhost(fixture, "case \"$*\" in *' --adopt'*) status=4 ;; *) status=9 ;; esac\n"
                                      "echo '{\"run\":null}' >\"${0%/*}/vms/web/state.json\"\n"
                                      "echo 'vmhost: the VM has just ended' >&2; exit $status");
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "stop", "web"));
        assert_string_equal(output, "web is not running.\n");
        assert_int_equal(status, 0);
}

static void test_wait(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL, *never = NULL, *lock = NULL;
        int listener, locked, status;

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
        lock = fixture_path(fixture, "web", "vmhost.lock");
        locked = file_lock(lock, false, NULL);
        fixture_start(fixture, ARGUMENTS("vm", "wait", "web"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"wait\"}"),
                           "{\"ok\":true,\"state\":\"error\",\"end\":" LAST_END "}");
        /* Who waited may remove it at once. */
        assert_int_equal(poll(&(struct pollfd){ .fd = fixture->output, .events = POLLIN }, 1, 100), 0);
        fd_close(locked);
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 139);
        assert_string_equal(output, "web: QEMU was ended by signal 11 (after 5 s)\n");
        free(output);

        /* Within that time it asks first whether the vmhost answers at all. */
        fixture_start(fixture, ARGUMENTS("vm", "wait", "web", "--timeout", "5"));
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

HARNESS_MAIN(WITH_FIXTURE(test_stop), WITH_FIXTURE(test_stop_default), WITH_FIXTURE(test_stop_orphan_gone),
             WITH_FIXTURE(test_wait), WITH_FIXTURE(test_cont))
