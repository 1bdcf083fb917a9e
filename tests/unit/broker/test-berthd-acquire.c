/* berthd: what an acquire brings, for how long, and what it fails at. */
#include "harness.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "fixture.h"

static void test_acquire(void **state) {
        struct wire *client = fixture_connect(*state);
        json_int_t lease, served;

        struct wire *handle = acquire(client, "shared", &lease);
        assert_true(handle_server(handle, &served) == fixture_network_pid(*state, "shared"));
        assert_int_equal(lease, served);

        json_auto_t *network = fixture_network(*state, "shared");
        json_t *who = json_array_get(json_object_get(network, "clients"), 0);
        assert_int_equal(json_integer_value(json_object_get(who, "lease")), lease);
        assert_int_equal(json_integer_value(json_object_get(who, "pid")), getpid());
        assert_int_equal(json_integer_value(json_object_get(who, "uid")), getuid());
        assert_true(json_is_true(json_object_get(who, "connected")));
        assert_non_null(strstr(json_string_value(json_object_get(who, "program")), "berthd"));
        wire_free(handle);
        wire_free(client);
}

static void test_acquire_twice_is_one_lease(void **state) {
        struct wire *client = fixture_connect(*state), *handles[150];
        json_int_t first, lease;

        for (size_t i = 0; i < ARRAY_SIZE(handles); i++) {
                handles[i] = acquire(client, "shared", &lease);
                if (i == 0)
                        first = lease;
                assert_int_equal(lease, first);
        }
        wait_for_leases(*state, "shared", 1);
        /* All but the last handle closed: still the same lease. */
        for (size_t i = 0; i + 1 < ARRAY_SIZE(handles); i++)
                wire_free(handles[i]);
        handle_server(handles[ARRAY_SIZE(handles) - 1], &lease);
        assert_int_equal(lease, first);
        wait_for_leases(*state, "shared", 1);
        wire_free(handles[ARRAY_SIZE(handles) - 1]);
        wait_for_leases(*state, "shared", 0);

        /* The connection is still good for a new lease, which is another. */
        struct wire *again = acquire(client, "shared", &lease);
        assert_true(lease > first);
        wire_free(again);
        wire_free(client);
}

static void test_several_clients_and_networks(void **state) {
        struct wire *clients[8], *shared[8], *host[8];
        pid_t pid = 0;

        for (size_t i = 0; i < 8; i++) {
                clients[i] = fixture_connect(*state);
                shared[i] = acquire(clients[i], "shared", NULL);
                host[i] = acquire(clients[i], "host", NULL);
                if (i == 0)
                        pid = handle_server(shared[0], NULL);
                assert_int_equal(handle_server(shared[i], NULL), pid);
                assert_int_not_equal(handle_server(host[i], NULL), pid);
        }
        wait_for_leases(*state, "shared", 8);
        wait_for_leases(*state, "host", 8);
        for (size_t i = 0; i < 8; i++) {
                wire_free(clients[i]); /* the connection's end ends both leases, handles or not */
                wait_for_end(wire_fd(shared[i]));
                wait_for_end(wire_fd(host[i]));
                wire_free(shared[i]);
                wire_free(host[i]);
        }
        wait_for_leases(*state, "shared", 0);
}

/* Requests that come while a network is being made are answered in their order. */
static void test_pipelined(void **state) {
        static const char requests[] = "{\"command\":\"acquire\",\"network_name\":\"shared\"}\n"
                                       "{\"command\":\"nonsense\"}\n"
                                       "{\"command\":\"acquire\",\"network_name\":\"host\"}\n"
                                       "{\"command\":\"list\"}\n"
                                       "{\"command\":\"release\",\"network_name\":\"shared\"}\n";
        static const char *const keys[] = { "network", "error", "network", "broker", "released" };
        struct wire *client = fixture_connect(*state);
        int handles[ARRAY_SIZE(keys)];

        assert_int_equal(send(wire_fd(client), requests, strlen(requests), 0), strlen(requests));
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                struct wire_message reply;

                receive_reply(client, &reply);
                assert_non_null(json_object_get(reply.body, keys[i]));
                handles[i] = wire_message_take_fd(&reply, 0); /* a lease lasts as long as its handle */
                wire_message_deinit(&reply);
        }
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                fd_close(handles[i]);
        wire_free(client);
}

static void test_errors(void **state) {
        struct wire *client = fixture_connect(*state);

        fixture_define(*state, "wrong", "{\n  \"mtu\": 12\n}\n");
        expect_error(client, "acquire", "nobody-defines-this", 5);
        expect_error(client, "acquire", "../shared", 5);
        expect_error(client, "acquire", NULL, 4);
        expect_error(client, "no such command", NULL, 4);
        expect_error(client, "release", "shared", 5);
        expect_error(client, "remove", "shared", 5);
        expect_error(client, "enter", "shared", 5);
        expect_error(client, "list", "nobody-defines-this", 5);

        struct wire_message reply;
        ask(client, "acquire", "wrong", &reply);
        assert_int_equal(error_of(reply.body), 6);
        assert_non_null(
                strstr(json_string_value(json_object_get(reply.body, "message")), "wrong.json:2: \"mtu\""));
        wire_message_deinit(&reply);

        /* It harms no other. */
        wire_free(acquire(client, "shared", NULL));
        wire_free(client);
}

static void test_network_that_cannot_be_made(void **state) {
        struct wire *client = fixture_connect(*state);
        struct wire_message reply;

        fixture_define(*state, "fail", "{}");
        fixture_define(*state, "crash", "{}");
        ask(client, "acquire", "fail", &reply);
        assert_int_equal(error_of(reply.body), 6);
        assert_string_equal(json_string_value(json_object_get(reply.body, "message")), "the name says so");
        wire_message_deinit(&reply);
        expect_error(client, "acquire", "crash", 6);
        expect_error(client, "acquire", "crash", 6);
        wait_for_leases(*state, "fail", -1);
        assert_false(fixture_has_file(*state, "run/networks/fail"));
        assert_false(fixture_has_file(*state, "run/networks/crash"));
        wire_free(client);
}

static void test_program_that_cannot_be_run(void **state) {
        struct fixture *fixture = *state;
        char *path = text_format("%s/program", fixture->directory);

        fixture_stop(fixture, SIGTERM);
        assert_int_equal(file_write(path, "#!/no/such/interpreter\n", 23, 0755, false, NULL), 0);
        fixture_start(fixture, (const char *const[]){ "--network-program", path, NULL });
        struct wire *client = fixture_connect(fixture);
        expect_error(client, "acquire", "shared", 6);
        wire_free(client);
        free(path);
}

/* A client that ends while its network is being made leaves nothing that waits for it. */
static void test_death_of_a_waiting_client(void **state) {
        struct wire *client = fixture_connect(*state), *other = fixture_connect(*state);
        json_auto_t *request = json_pack("{ss ss}", "command", "acquire", "network_name", "mute");

        fixture_define(*state, "mute", "{}");
        assert_int_equal(wire_send(client, request, NULL, 0), 0);
        /* The other's request is behind the first one's once the network is there. */
        wait_for_leases(*state, "mute", 0);
        wire_free(client);
        json_auto_t *body = ask_once(*state, "list", "mute");
        assert_int_equal(error_of(body), 0);
        assert_int_equal(kill(fixture_network_pid(*state, "mute"), SIGKILL), 0);
        wait_for_leases(*state, "mute", -1);
        wire_free(other);
}

HARNESS_MAIN(WITH_BROKER(test_acquire), WITH_BROKER(test_acquire_twice_is_one_lease),
             WITH_BROKER(test_several_clients_and_networks), WITH_BROKER(test_pipelined),
             WITH_BROKER(test_errors), WITH_BROKER(test_network_that_cannot_be_made),
             WITH_BROKER(test_program_that_cannot_be_run), WITH_BROKER(test_death_of_a_waiting_client))
