/* berthd: the end of a lease, and of a network that nobody uses. */
#include "harness.h"

#include <signal.h>

#include "fixture.h"

static void test_release(void **state) {
        struct wire *client = fixture_connect(*state);
        struct wire *handle = acquire(client, "shared", NULL);
        struct wire_message reply;

        ask(client, "release", "shared", &reply);
        assert_string_equal(json_string_value(json_object_get(reply.body, "released")), "shared");
        wire_message_deinit(&reply);
        wait_for_end(wire_fd(handle));
        expect_error(client, "release", "shared", 5);
        wire_free(handle);
        wire_free(client);
}

static void test_remove(void **state) {
        struct wire *client = fixture_connect(*state);
        struct wire *handle = acquire(client, "shared", NULL);
        pid_t pid = handle_server(handle, NULL);

        expect_error(client, "remove", "shared", 8);
        wire_free(handle);
        wait_for_leases(*state, "shared", 0);
        json_auto_t *body = ask_once(*state, "remove", "shared");
        assert_string_equal(json_string_value(json_object_get(body, "removed")), "shared");
        assert_int_equal(kill(pid, 0), -1);
        assert_false(fixture_has_file(*state, "run/networks/shared"));
        expect_error(client, "remove", "shared", 5);
        wire_free(client);
}

/* The last handle is closed, and another is taken before the network knows of it: the word of the lease's end
 * and the new handle cross each other. The lease goes on with the new handle. */
static void test_handle_crosses_the_leases_end(void **state) {
        struct wire *client = fixture_connect(*state), *handle = acquire(client, "shared", NULL);
        json_int_t lease;
        pid_t pid = handle_server(handle, NULL);

        assert_int_equal(kill(pid, SIGSTOP), 0);
        wire_free(handle);
        handle = acquire(client, "shared", &lease);
        assert_int_equal(kill(pid, SIGCONT), 0);
        handle_server(handle, NULL);
        wait_for_leases(*state, "shared", 1);
        expect_error(client, "remove", "shared", 8);
        wire_free(client);
        wait_for_end(wire_fd(handle));
        wire_free(handle);
        wait_for_leases(*state, "shared", 0);
}

static void test_removed_when_idle(void **state) {
        struct fixture *fixture = *state;
        struct wire *client = fixture_connect(fixture);

        fixture_define(fixture, "brief", "{\"idle_timeout_sec\": 0}");
        wire_free(acquire(client, "brief", NULL));
        wait_for_leases(fixture, "brief", -1);
        assert_false(fixture_has_file(fixture, "run/networks/brief"));
        wire_free(client);
}

/* With no delay at all, each acquire meets a network that is about to go, at whatever moment. Never may it
 * get a handle that nobody serves. */
static void test_race_with_removal(void **state) {
        struct fixture *fixture = *state;
        struct wire *client = fixture_connect(fixture);
        unsigned processes = 0;
        pid_t last = 0;

        fixture_define(fixture, "brief", "{\"idle_timeout_sec\": 0}");
        for (unsigned i = 0; i < 300; i++) {
                struct wire *handle = acquire(client, "brief", NULL);
                pid_t pid = handle_server(handle, NULL);

                processes += pid != last;
                last = pid;
                wire_free(handle);
                /* Another point of the race each time: nothing in between, a round trip, or two. */
                if (i % 100 == 99)
                        wait_for_leases(fixture, "brief", -1);
                for (unsigned j = 0; j < i % 3; j++) {
                        struct wire_message reply;
                        ask(client, "nonsense", NULL, &reply);
                        wire_message_deinit(&reply);
                }
        }
        assert_true(processes > 1);
        wire_free(client);
        wait_for_leases(fixture, "brief", -1);
}

HARNESS_MAIN(WITH_BROKER(test_release), WITH_BROKER(test_remove),
             WITH_BROKER(test_handle_crosses_the_leases_end), WITH_BROKER(test_removed_when_idle),
             WITH_BROKER(test_race_with_removal))
