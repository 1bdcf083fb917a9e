/* berthd: a network's process that reads more slowly than clients ask. */
#include "harness.h"

#include <poll.h>
#include <signal.h>

#include "fixture.h"

#define MANY 2000 /* acquires: far more than a socket's buffer and the queue behind it hold leases */
#define PATIENCE 500 /* milliseconds for a reply; one that takes longer on a busy machine ends the flood too early */

/* Acquires again and again until the reply does not come: how many came. Then one is owed. */
static int flood(struct wire *client, const char *name) {
        json_auto_t *request = json_pack("{ss ss}", "command", "acquire", "network_name", name);
        struct pollfd p = { .fd = wire_fd(client), .events = POLLIN };

        for (int n = 0; n < MANY; n++) {
                struct wire_message reply;

                assert_int_equal(wire_send(client, request, NULL, 0), 0);
                if (poll(&p, 1, PATIENCE) == 0)
                        return n;
                receive_reply(client, &reply);
                assert_int_equal(error_of(reply.body), 0);
                wire_message_deinit(&reply);
        }
        return MANY;
}

/* The flood waits; the network is not lost over it, and others are served. */
static void test_flood(void **state) {
        struct wire *client = fixture_connect(*state);
        struct wire_message reply;

        struct wire *handle = acquire(client, "shared", NULL);
        pid_t pid = handle_server(handle, NULL);
        assert_int_equal(kill(pid, SIGSTOP), 0);
        assert_in_range(flood(client, "shared"), 1, MANY - 1);

        struct wire *other = fixture_connect(*state);
        struct wire *elsewhere = acquire(other, "host", NULL);

        assert_int_equal(kill(pid, SIGCONT), 0);
        receive_reply(client, &reply);
        assert_int_equal(error_of(reply.body), 0);
        assert_int_equal(reply.n_fds, 1);
        wire_message_deinit(&reply);
        assert_int_equal(handle_server(handle, NULL), pid);

        struct wire *after = acquire(client, "shared", NULL);
        assert_int_equal(handle_server(after, NULL), pid);
        wire_free(after);
        wire_free(elsewhere);
        wire_free(other);
        wire_free(handle);
        wire_free(client);
}

/* A client that dies while it waits leaves nothing. */
static void test_flood_and_die(void **state) {
        struct wire *holder = fixture_connect(*state), *client = fixture_connect(*state);

        struct wire *handle = acquire(holder, "shared", NULL);
        pid_t pid = handle_server(handle, NULL);
        assert_int_equal(kill(pid, SIGSTOP), 0);
        assert_in_range(flood(client, "shared"), 1, MANY - 1);
        wire_free(client);
        assert_int_equal(kill(pid, SIGCONT), 0);
        wait_for_leases(*state, "shared", 1);
        assert_int_equal(handle_server(handle, NULL), pid);
        wire_free(handle);
        wire_free(holder);
}

HARNESS_MAIN(cmocka_unit_test_setup_teardown(test_flood, fixture_setup, fixture_teardown),
             cmocka_unit_test_setup_teardown(test_flood_and_die, fixture_setup, fixture_teardown))
