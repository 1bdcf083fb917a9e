/* cli/vm-pulse: when a vmhost counts as silent. */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "cli/vm-clock.h"
#include "cli/vm-pulse.h"
#include "fixture.h"
#include "loop/loop.h"

struct world {
        struct fixture *fixture;
        char *directory;
        struct vm_pulse pulse;
        int listener;
};

static int setup(void **state) {
        static struct world world;

        world.fixture = fixture_new();
        fixture_make_vm(world.fixture, "web");
        world.directory = fixture_path(world.fixture, "web", "");
        world.listener = fixture_listen(world.fixture, "web");
        vm_pulse_begin(&world.pulse, world.directory);
        *state = &world;
        return 0;
}

static int teardown(void **state) {
        struct world *world = *state;

        vm_pulse_end(&world->pulse);
        fd_close(world->listener);
        free(world->directory);
        fixture_free(world->fixture);
        return 0;
}

/* A look that is due now, with no time to pass until then. */
static bool look(struct world *world) {
        world->pulse.next = 0;
        return vm_pulse_look(&world->pulse);
}

static void test_not_due(void **state) {
        struct world *world = *state;
        uint64_t before = loop_now();

        vm_pulse_begin(&world->pulse, world->directory);
        assert_true(world->pulse.next >= before + VM_PULSE_INTERVAL_MS * 1000);
        world->pulse.next = vm_clock_in_ms(3600000);
        assert_false(vm_pulse_look(&world->pulse));
        assert_null(world->pulse.question);
        before = loop_now();
        assert_false(look(world));
        assert_non_null(world->pulse.question);
        assert_true(world->pulse.next >= before + VM_PULSE_INTERVAL_MS * 1000);
}

static void test_silence(void **state) {
        struct world *world = *state;
        int question;

        assert_false(look(world));
        question = fixture_accept(world->listener, FIXTURE_STATUS);
        for (int i = 1; i < VM_PULSE_LOOKS; i++)
                assert_false(look(world));
        /* An answer in the last moment is one. */
        fixture_reply_last(question, RUNNING);
        assert_false(look(world));
        question = fixture_accept(world->listener, FIXTURE_STATUS);
        for (int i = 1; i < VM_PULSE_LOOKS; i++)
                assert_false(look(world));
        assert_true(look(world));
        assert_true(world->pulse.since_ms > 0 && world->pulse.since_ms <= vm_clock_wall_ms());
        /* It was not asked over and over meanwhile. */
        assert_int_equal(accept4(world->listener, NULL, NULL, SOCK_CLOEXEC), -1);
        assert_int_equal(errno, EAGAIN);
        fixture_reply_last(question, RUNNING);
        assert_false(look(world));
}

/* To be turned out for want of room is a sign of life. */
static void test_turned_out(void **state) {
        struct world *world = *state;

        for (int i = 0; i < 2 * VM_PULSE_LOOKS; i++) {
                assert_false(look(world));
                fd_close(fixture_accept(world->listener, FIXTURE_STATUS));
        }
}

static void test_gone(void **state) {
        struct world *world = *state;

        world->listener = fd_close(world->listener);
        for (int i = 0; i < 2 * VM_PULSE_LOOKS; i++)
                assert_false(look(world));
}

/* One that was frozen for long takes no connection any more. */
static void test_full(void **state) {
        struct world *world = *state;
        int fillers[8], first;

        assert_int_equal(listen(world->listener, 1), 0);
        for (size_t i = 0; i < ARRAY_SIZE(fillers); i++)
                fillers[i] = vm_connect(world->directory, "vmhost.sock");
        assert_int_equal(fillers[ARRAY_SIZE(fillers) - 1], -EAGAIN);
        for (int i = 0; i < VM_PULSE_LOOKS; i++)
                assert_false(look(world));
        assert_true(look(world));
        for (size_t i = 0; i < ARRAY_SIZE(fillers); i++)
                fd_close(fillers[i]);
        while ((first = accept4(world->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
                fd_close(first);
        assert_true(look(world)); /* asked now, and not answered yet */
        fixture_reply_last(fixture_accept(world->listener, FIXTURE_STATUS), RUNNING);
        assert_false(look(world));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

HARNESS_MAIN(TEST(test_not_due), TEST(test_silence), TEST(test_turned_out), TEST(test_gone), TEST(test_full))
