/* berthd: a network's process that reads more slowly than clients ask. */
#include "harness.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "fixture.h"

#define MANY 2000 /* acquires: far more than a socket's buffer and the queue behind it hold leases */

/* After a turn of the broker, in which it has served another client, each request from before it was read. */
static void wait_for_turn(struct fixture *fixture) {
        json_auto_t *body = ask_once(fixture, "list", "host");

        assert_int_equal(error_of(body), 0);
}

/* Acquires again and again until the reply does not come: how many came. Then one is owed. */
static int flood(struct fixture *fixture, struct wire *client, const char *name) {
        json_auto_t *request = json_pack("{ss ss}", "command", "acquire", "network_name", name);
        struct pollfd p = { .fd = wire_fd(client), .events = POLLIN };

        for (int n = 0; n < MANY; n++) {
                struct wire_message reply;

                assert_int_equal(wire_send(client, request, NULL, 0), 0);
                wait_for_turn(fixture);
                if (poll(&p, 1, 0) == 0)
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
        assert_in_range(flood(*state, client, "shared"), 1, MANY - 1);

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
        assert_in_range(flood(*state, client, "shared"), 1, MANY - 1);
        wire_free(client);
        assert_int_equal(kill(pid, SIGCONT), 0);
        wait_for_leases(*state, "shared", 1);
        assert_int_equal(handle_server(handle, NULL), pid);
        wire_free(handle);
        wire_free(holder);
}

/* Far more handles than a socket's buffer holds messages: a network that is slow makes their takers wait, and
 * one that takes over gets them all. */
static void test_many_handles(void **state) {
        static const char request[] = "{\"command\":\"acquire\",\"network_name\":\"shared\"}\n";
        enum { CLIENTS = 3, EACH = 200 };
        struct wire *clients[CLIENTS], *handles[CLIENTS * EACH];
        char requests[EACH * (sizeof(request) - 1)];
        struct rlimit limit;

        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);

        struct wire *first = fixture_connect(*state), *kept = acquire(first, "shared", NULL);
        pid_t pid = handle_server(kept, NULL);
        assert_int_equal(kill(pid, SIGSTOP), 0);
        for (size_t i = 0; i < EACH; i++)
                memcpy(requests + i * strlen(request), request, strlen(request));
        for (size_t c = 0; c < CLIENTS; c++) {
                clients[c] = fixture_connect(*state);
                assert_int_equal(send(wire_fd(clients[c]), requests, sizeof(requests), 0), sizeof(requests));
        }
        /* Others are served meanwhile; after so many turns of the broker it has taken all that it will. */
        for (int i = 0; i < 40; i++)
                wait_for_turn(*state);
        assert_int_equal(kill(pid, SIGCONT), 0);
        for (size_t i = 0; i < CLIENTS * EACH; i++) {
                struct wire_message reply;

                receive_reply(clients[i / EACH], &reply);
                assert_int_equal(reply.n_fds, 1);
                assert_int_equal(wire_new(&handles[i], wire_message_take_fd(&reply, 0)), 0);
                wire_message_deinit(&reply);
                assert_int_equal(handle_server(handles[i], NULL), pid);
        }
        assert_int_equal(kill(pid, SIGKILL), 0);
        pid_t next = handle_server(kept, NULL);
        assert_int_not_equal(next, pid);
        for (size_t i = 0; i < CLIENTS * EACH; i++) {
                assert_int_equal(handle_server(handles[i], NULL), next);
                wire_free(handles[i]);
        }
        for (size_t c = 0; c < CLIENTS; c++)
                wire_free(clients[c]);
        wire_free(kept);
        wait_for_leases(*state, "shared", 0);
        wire_free(first);
}

HARNESS_MAIN(WITH_BROKER(test_flood), WITH_BROKER(test_flood_and_die), WITH_BROKER(test_many_handles))
