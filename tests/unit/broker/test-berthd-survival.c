/* berthd: what survives the death of a network's process, and what the broker's own. */
#include "harness.h"

#include <poll.h>
#include <signal.h>

#include "fixture.h"
#include "loop/loop.h"

/* What cannot be taken is lost (as what comes with a descriptor is where we have no room for it), and ends
 * nothing. */
static void test_network_that_makes_noise(void **state) {
        fixture_define(*state, "noise", "{}");
        struct wire *client = fixture_connect(*state);
        struct wire *first = acquire(client, "noise", NULL), *second = NULL;
        pid_t pid = handle_server(first, NULL);

        wire_free(acquire(client, "noise", NULL));
        json_decref(fixture_network(*state, "noise"));
        second = acquire(client, "noise", NULL);
        assert_int_equal(handle_server(second, NULL), pid);
        assert_int_equal(handle_server(first, NULL), pid);
        wire_free(second);
        wire_free(first);
        wire_free(client);
}

static void test_network_killed(void **state) {
        struct wire *client = fixture_connect(*state), *leaving = fixture_connect(*state);
        struct wire *first = acquire(client, "shared", NULL), *second = acquire(client, "shared", NULL);
        struct wire *gone = acquire(leaving, "shared", NULL);
        json_int_t lease, gone_lease;

        pid_t pid = handle_server(first, &lease);
        handle_server(gone, &gone_lease);
        assert_int_equal(kill(pid, SIGSTOP), 0);
        wire_free(leaving); /* it will never read of this lease's end */
        wait_for_leases(*state, "shared", 1);
        assert_int_equal(kill(pid, SIGKILL), 0);

        /* The same handles, the same lease, and another process at the other end. */
        json_int_t lease_now;
        pid_t next = handle_server(first, &lease_now);
        assert_int_not_equal(next, pid);
        assert_int_equal(lease_now, lease);
        assert_int_equal(handle_server(second, NULL), next);

        json_t *network = fixture_network(*state, "shared");
        while (is_late(network)) {
                json_decref(network);
                network = fixture_network(*state, "shared");
        }
        json_t *services = json_object_get(network, "services");
        assert_true(json_is_true(json_object_get(services, "replacement")));
        assert_int_equal(json_integer_value(json_array_get(json_object_get(services, "ended"), 0)),
                         gone_lease);
        json_decref(network);
        wait_for_end(wire_fd(gone));

        /* A lease that is taken while there is no process waits for the next one. */
        assert_int_equal(kill(next, SIGKILL), 0);
        struct wire *third = acquire(client, "shared", NULL);
        assert_int_not_equal(handle_server(third, NULL), next);
        wire_free(first);
        wire_free(second);
        wire_free(third);
        wire_free(gone);
        wait_for_leases(*state, "shared", 0);
        wire_free(client);
}

/* Whether the handle is not given up. */
static bool is_served(struct wire *handle) {
        json_auto_t *body = json_pack("{ss}", "command", "network");
        struct wire_message reply = WIRE_MESSAGE_INIT;
        struct pollfd p = { .fd = wire_fd(handle), .events = POLLIN };
        int r;

        if (wire_send(handle, body, NULL, 0) < 0)
                return false;
        while ((r = wire_receive(handle, &reply, NULL)) == WIRE_AGAIN)
                assert_int_equal(poll(&p, 1, -1), 1);
        wire_message_deinit(&reply);
        return r == WIRE_MESSAGE;
}

/* Five times within ten seconds are, and on a machine that is slower than that it takes some more. */
static void test_network_killed_too_often(void **state) {
        struct wire *client = fixture_connect(*state);
        struct wire *handle = acquire(client, "shared", NULL);
        uint64_t begun = loop_now();
        int n = 0;

        do
                assert_int_equal(kill(handle_server(handle, NULL), SIGKILL), 0);
        while (++n < 5 || is_served(handle));
        assert_true(n == 5 || loop_now() - begun >= 10000000);
        wait_for_leases(*state, "shared", -1);
        assert_false(fixture_has_file(*state, "run/networks/shared"));

        /* Who asks anew gets a new one. */
        struct wire *again = acquire(client, "shared", NULL);
        handle_server(again, NULL);
        wire_free(again);
        wire_free(handle);
        wire_free(client);
}

static void restart_and_check(struct fixture *fixture, int signal) {
        struct wire *client = fixture_connect(fixture);
        json_int_t lease, second_lease, new_lease;
        struct wire *handle = acquire(client, "shared", &lease), *more = acquire(client, "shared", NULL);
        struct wire *other = fixture_connect(fixture), *second = acquire(other, "shared", &second_lease);
        pid_t pid = handle_server(handle, NULL);

        fixture_stop(fixture, signal);
        wait_for_end(wire_fd(client));
        assert_int_equal(handle_server(handle, NULL), pid);
        fixture_start(fixture, (const char *const[]){ "--idle-timeout", "60", NULL });
        wait_for_leases(fixture, "shared", 2); /* it does not wait for a network that is slow */

        json_auto_t *network = fixture_network(fixture, "shared");
        assert_int_equal(json_integer_value(json_object_get(network, "pid")), pid);
        json_t *clients = json_object_get(network, "clients");
        assert_int_equal(json_array_size(clients), 2);
        assert_true(json_is_false(json_object_get(json_array_get(clients, 0), "connected")));
        assert_int_equal(json_integer_value(json_object_get(json_array_get(clients, 0), "lease")), lease);

        struct wire *newcomer = fixture_connect(fixture), *third = acquire(newcomer, "shared", &new_lease);
        assert_true(new_lease > second_lease);
        assert_int_equal(handle_server(third, NULL), pid);
        wire_free(handle);
        wait_for_leases(fixture, "shared", 3);
        wire_free(more);
        wait_for_leases(fixture, "shared", 2);

        /* The new broker can replace a process that it did not start, and give it leases that it did not
         * make. */
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_not_equal(handle_server(second, NULL), pid);
        wire_free(second);
        wire_free(third);
        wait_for_leases(fixture, "shared", 0);
        json_auto_t *removed = ask_once(fixture, "remove", "shared");
        assert_int_equal(error_of(removed), 0);
        wire_free(newcomer);
        wire_free(other);
        wire_free(client);
}

static void test_broker_killed(void **state) {
        restart_and_check(*state, SIGKILL);
}

static void test_broker_terminated(void **state) {
        restart_and_check(*state, SIGTERM);
}

static void test_stale_leftovers(void **state) {
        struct fixture *fixture = *state;
        json_int_t lease, next_lease;
        struct wire *client = fixture_connect(fixture), *handle = acquire(client, "shared", &lease);
        pid_t pid = handle_server(handle, NULL);

        fixture_stop(fixture, SIGKILL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        wait_for_end(wire_fd(handle));
        assert_true(fixture_has_file(fixture, "run/networks/shared/control.sock"));
        assert_true(fixture_has_file(fixture, "run/broker.sock"));
        fixture_start(fixture, NULL);
        assert_false(fixture_has_file(fixture, "run/networks/shared"));
        wire_free(handle);
        wire_free(client);

        /* Nobody is left who knows the number, and it is not given again: a port may live on with it. */
        client = fixture_connect(fixture);
        handle = acquire(client, "shared", &next_lease);
        assert_true(next_lease > lease);
        wire_free(handle);
        wire_free(client);
}

HARNESS_MAIN(WITH_BROKER(test_network_that_makes_noise), WITH_BROKER(test_network_killed),
             WITH_BROKER(test_network_killed_too_often), WITH_BROKER(test_broker_killed),
             WITH_BROKER(test_broker_terminated), WITH_BROKER(test_stale_leftovers))
