/* berthd: networks and leases, from the first acquire to the end of everything. */
#include "harness.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "fixture.h"

static int network_pid(struct fixture *fixture, const char *name) {
        json_auto_t *network = fixture_network(fixture, name);

        return (int)json_integer_value(json_object_get(network, "pid"));
}

static bool exists(struct fixture *fixture, const char *rest) {
        char *path = text_format("%s/%s", fixture->directory, rest);
        bool there = access(path, F_OK) == 0;

        free(path);
        return there;
}

/* --- acquire --- */

static void test_acquire(void **state) {
        struct wire *client = fixture_connect(*state);
        json_int_t lease, served;

        struct wire *handle = acquire(client, "shared", &lease);
        assert_true(handle_server(handle, &served) == network_pid(*state, "shared"));
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
        assert_false(exists(*state, "run/networks/fail"));
        assert_false(exists(*state, "run/networks/crash"));
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
        assert_int_equal(kill(network_pid(*state, "mute"), SIGKILL), 0);
        wait_for_leases(*state, "mute", -1);
        wire_free(other);
}

/* --- release, remove, enter, list --- */

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
        assert_false(exists(*state, "run/networks/shared"));
        expect_error(client, "remove", "shared", 5);
        wire_free(client);
}

static void test_enter(void **state) {
        struct wire *client = fixture_connect(*state);
        struct wire *handle = acquire(client, "shared", NULL);
        struct wire_message reply;
        struct stat found, own;

        ask(client, "enter", "shared", &reply);
        assert_int_equal(reply.n_fds, geteuid() == 0 ? 1 : 2);
        assert_int_equal(fstat(reply.fds[reply.n_fds - 1], &found), 0);
        assert_int_equal(stat("/proc/self/ns/net", &own), 0);
        assert_int_equal(found.st_ino, own.st_ino); /* the stand-in's is ours */
        json_t *network = json_object_get(reply.body, "network");
        assert_string_equal(json_string_value(json_object_get(network, "state")), "running");
        assert_null(json_object_get(network, "interfaces"));
        wire_message_deinit(&reply);
        wire_free(handle);
        wire_free(client);
}

static void test_list(void **state) {
        struct wire *client = fixture_connect(*state);

        fixture_define(*state, "deaf", "{\"description\": \"hears nothing\"}");
        fixture_define(*state, "broken", "{\n\n nonsense");
        struct wire *deaf = acquire(client, "deaf", NULL), *shared = acquire(client, "shared", NULL);

        json_auto_t *body = ask_once(*state, "list", NULL);
        json_t *networks = json_object_get(body, "networks"),
               *definitions = json_object_get(body, "definitions");
        assert_int_equal(json_array_size(networks), 2);
        assert_non_null(json_object_get(json_array_get(networks, 0), "message"));
        assert_null(json_object_get(json_array_get(networks, 0), "interfaces"));
        assert_null(json_object_get(json_array_get(networks, 1), "message"));
        assert_true(json_is_array(json_object_get(json_array_get(networks, 1), "interfaces")));

        assert_int_equal(json_array_size(definitions), 4);
        assert_string_equal(json_string_value(json_object_get(json_array_get(definitions, 0), "source")),
                            "built in");
        const char *error = json_string_value(json_object_get(json_array_get(definitions, 2), "error"));
        assert_non_null(strstr(error, "broken.json:3:"));
        assert_string_equal(json_string_value(json_object_get(json_array_get(definitions, 3), "description")),
                            "hears nothing");
        wire_free(shared);
        wire_free(deaf);
        wire_free(client);
}

/* A network with as many forwards as a line can list, or two, hides nothing of the others, and nobody's connection
 * ends for it. */
static void test_long_answers(void **state) {
        static const char *const names[] = { "long1", "long2", "shared" };
        struct wire *client = fixture_connect(*state), *handles[ARRAY_SIZE(names)];
        struct wire_message reply;

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                if (i < 2)
                        fixture_define(*state, names[i], "{}");
                handles[i] = acquire(client, names[i], NULL);
        }
        ask(client, "list", NULL, &reply);
        assert_int_equal(error_of(reply.body), 0);
        json_t *networks = json_object_get(reply.body, "networks");
        assert_int_equal(json_array_size(networks), 3);
        for (size_t i = 0; i < 3; i++) {
                json_t *network = json_array_get(networks, i), *left_out = json_object_get(network, "left_out");

                assert_true(json_is_array(json_object_get(network, "clients")));
                assert_true(json_is_array(json_object_get(network, "interfaces")));
                assert_int_equal(left_out == NULL, json_object_get(network, "forwards") != NULL);
                assert_int_equal(left_out == NULL, json_object_get(network, "message") == NULL);
                if (left_out) {
                        assert_int_equal(json_array_size(left_out), 1);
                        assert_string_equal(json_string_value(json_array_get(left_out, 0)), "forwards");
                }
                assert_true(i != 2 || !left_out);
        }
        wire_message_deinit(&reply);

        /* With the clients of the network it is too long for `enter`, and for a list of it alone. */
        for (size_t i = 0; i < 2; i++) {
                ask(client, i == 0 ? "enter" : "list", "long1", &reply);
                assert_int_equal(error_of(reply.body), 0);
                json_t *network = i == 0 ? json_object_get(reply.body, "network") :
                                           json_array_get(json_object_get(reply.body, "networks"), 0);
                assert_int_equal(json_array_size(json_object_get(network, "left_out")), 1);
                assert_int_equal(reply.n_fds, i > 0 ? 0 : geteuid() == 0 ? 1 : 2);
                wire_message_deinit(&reply);
        }
        handle_server(handles[0], NULL);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                wire_free(handles[i]);
        wire_free(client);
}

/* --- The removal delay --- */

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
        assert_false(exists(fixture, "run/networks/brief"));
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

/* --- What survives what --- */

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

        json_auto_t *network = fixture_network(*state, "shared");
        json_t *services = json_object_get(network, "services");
        assert_true(json_is_true(json_object_get(services, "replacement")));
        assert_int_equal(json_integer_value(json_array_get(json_object_get(services, "ended"), 0)),
                         gone_lease);
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
        for (int i = 0; i < 40; i++) {
                json_auto_t *body = ask_once(*state, "list", "host");
                assert_int_equal(error_of(body), 0);
        }
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

static void test_network_killed_too_often(void **state) {
        struct wire *client = fixture_connect(*state);
        struct wire *handle = acquire(client, "shared", NULL);
        pid_t pid;

        for (int i = 0; i < 4; i++) {
                pid = handle_server(handle, NULL);
                assert_int_equal(kill(pid, SIGKILL), 0);
        }
        assert_int_equal(kill(handle_server(handle, NULL), SIGKILL), 0);
        wait_for_end(wire_fd(handle));
        wait_for_leases(*state, "shared", -1);
        assert_false(exists(*state, "run/networks/shared"));

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

/* How many connections of brokers the handle's network has had. */
static int count_brokers(struct wire *handle) {
        struct wire_message reply;

        ask(handle, "network", NULL, &reply);
        int n = (int)json_integer_value(json_object_get(reply.body, "brokers"));
        wire_message_deinit(&reply);
        return n;
}

static bool has_fd(pid_t pid, unsigned fd) {
        char path[64];
        struct stat status;

        snprintf(path, sizeof(path), "/proc/%d/fd/%u", pid, fd);
        return lstat(path, &status) == 0;
}

static bool is_pidfd(pid_t pid, unsigned fd) {
        char path[64], target[64];

        snprintf(path, sizeof(path), "/proc/%d/fd/%u", pid, fd);
        ssize_t n = readlink(path, target, sizeof(target));
        return n > 0 && memmem(target, (size_t)n, "pidfd", 5);
}

/* Connects until the broker's file descriptors have no gap up to what it has of its network, and gives their number. */
static unsigned close_gaps(struct fixture *fixture, int *clients, size_t n_clients) {
        unsigned highest = 250;

        while (!is_pidfd(fixture->broker, highest))
                assert_true(highest-- > 0);
        for (unsigned fd = 0, n = 0; fd < highest; fd++)
                if (!has_fd(fixture->broker, fd)) {
                        assert_true(n < n_clients);
                        clients[n++] = fd_connect_unix(fixture->socket);
                        while (!has_fd(fixture->broker, fd))
                                ;
                }
        return highest + 1;
}

/* Where a broker has no file descriptor left for what a network has, both go on, and it has it all once there are. */
static void test_adoption_without_room(void **state) {
        struct fixture *fixture = *state;
        struct wire *client = fixture_connect(fixture), *handles[3];
        struct rlimit saved, tight;

        for (size_t i = 0; i < ARRAY_SIZE(handles); i++)
                handles[i] = acquire(client, "shared", NULL);
        pid_t pid = handle_server(handles[0], NULL);
        for (rlim_t room = 0; room < 2; room++) {
                int before = count_brokers(handles[0]), clients[16];

                fixture_stop(fixture, SIGKILL);
                assert_int_equal(kill(pid, SIGSTOP), 0);
                /* It goes on without the network that does not answer. */
                fixture_start(fixture, (const char *const[]){ "--idle-timeout", "60", NULL });
                assert_int_equal(prlimit(fixture->broker, RLIMIT_NOFILE, NULL, &saved), 0);
                memset(clients, -1, sizeof(clients));
                tight = saved;
                tight.rlim_cur = close_gaps(fixture, clients, ARRAY_SIZE(clients)) + room;
                assert_int_equal(prlimit(fixture->broker, RLIMIT_NOFILE, &tight, NULL), 0);
                assert_int_equal(kill(pid, SIGCONT), 0);
                /* It has come, was without room for `ready` or for a `lease` behind it, and has come again. */
                while (count_brokers(handles[0]) < before + 2)
                        ;
                assert_int_equal(prlimit(fixture->broker, RLIMIT_NOFILE, &saved, NULL), 0);
                struct wire *newcomer = fixture_connect(fixture), *handle = acquire(newcomer, "shared", NULL);
                assert_int_equal(handle_server(handle, NULL), pid);
                wait_for_leases(fixture, "shared", 2);
                wire_free(handle);
                wire_free(newcomer);
                wait_for_leases(fixture, "shared", 1);
                for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
                        fd_close(clients[i]);
        }
        /* All of its handles are known: a replacement serves them. */
        assert_int_equal(kill(pid, SIGKILL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(handles); i++) {
                assert_int_not_equal(handle_server(handles[i], NULL), pid);
                wire_free(handles[i]);
        }
        wire_free(client);
        wait_for_leases(fixture, "shared", 0);
}

/* Where a network has none left for a handle, that handle ends, and a lease with it if it has no other. */
static void test_network_without_room(void **state) {
        struct wire *client = fixture_connect(*state), *other = fixture_connect(*state);

        fixture_define(*state, "full", "{}");
        struct wire *first = acquire(client, "full", NULL);
        pid_t pid = handle_server(first, NULL);
        for (int i = 0; i < 2; i++) {
                struct wire *handles[] = { acquire(client, "full", NULL), acquire(other, "full", NULL) };

                for (size_t j = 0; j < 2; j++) {
                        wait_for_end(wire_fd(handles[j]));
                        wire_free(handles[j]);
                }
                wait_for_leases(*state, "full", 1);
                assert_int_equal(handle_server(first, NULL), pid);
        }
        expect_error(other, "release", "full", 5);
        wire_free(first);
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
        assert_true(exists(fixture, "run/networks/shared/control.sock"));
        assert_true(exists(fixture, "run/broker.sock"));
        fixture_start(fixture, NULL);
        assert_false(exists(fixture, "run/networks/shared"));
        wire_free(handle);
        wire_free(client);

        /* Nobody is left who knows the number, and it is not given again: a port may live on with it. */
        client = fixture_connect(fixture);
        handle = acquire(client, "shared", &next_lease);
        assert_true(next_lease > lease);
        wire_free(handle);
        wire_free(client);
}

/* --- The broker's own life --- */

static void test_second_broker(void **state) {
        struct fixture *fixture = *state;
        int status;

        pid_t pid = fork();
        if (pid == 0) {
                close(2);
                execl(BERTHD, BERTHD, "--foreground", "--socket", fixture->socket, "--state",
                      fixture->directory, "--network-program", STAND_IN, NULL);
                _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WEXITSTATUS(status), 3);
        json_auto_t *body = ask_once(fixture, "list", NULL);
        assert_int_equal(error_of(body), 0);
}

static void test_idle_broker_ends(void **state) {
        struct fixture *fixture = *state;

        fixture_stop(fixture, SIGTERM);
        assert_false(exists(fixture, "run/broker.sock"));
        fixture_start(fixture, (const char *const[]){ "--idle-timeout", "0", NULL });
        struct wire *client = fixture_connect(fixture), *handle = acquire(client, "shared", NULL);
        wire_free(handle);
        wire_free(client);
        assert_int_equal(fixture_stop(fixture, 0), 0); /* by itself */
        assert_false(exists(fixture, "run/broker.sock"));
        assert_false(exists(fixture, "run/networks/shared"));
}

/* Until the process waits for something. The one thing that an idle broker waits for is its events. */
static void wait_until_asleep(pid_t pid) {
        char *path = text_format("/proc/%d/stat", pid);
        bool asleep = false;

        while (!asleep) {
                char *text;
                size_t size;

                assert_int_equal(file_read(path, 4096, &text, &size, NULL), 0);
                assert_non_null(strrchr(text, ')'));
                asleep = strrchr(text, ')')[2] == 'S'; /* proc(5) */
                free(text);
        }
        free(path);
}

/* Who could connect is served, even at the moment at which the broker ends: the time is up and the connection
 * is there before it runs again. */
static void test_race_with_the_brokers_end(void **state) {
        struct fixture *fixture = *state;

        /* The connection first, or the time: which the broker sees first, too. */
        for (int i = 0; i < 2; i++) {
                fixture_stop(fixture, i == 0 ? SIGTERM : 0);
                fixture_start(fixture, (const char *const[]){ "--idle-timeout", "0", NULL });
                wait_until_asleep(fixture->broker);
                assert_int_equal(kill(fixture->broker, SIGSTOP), 0);
                struct wire *client = i ? NULL : fixture_connect(fixture);
                usleep(1100000); /* the time that it waits, which is a second at least */
                client = client ?: fixture_connect(fixture);
                assert_int_equal(kill(fixture->broker, SIGCONT), 0);
                expect_error(client, "nonsense", NULL, 4);
                /* And it still listens. */
                struct wire *second = fixture_connect(fixture);
                expect_error(second, "nonsense", NULL, 4);
                wire_free(second);
                wire_free(client);
        }
        assert_int_equal(fixture_stop(fixture, 0), 0);
}

/* As a service manager starts it: with a socket that listens already, and one to be told at. */
static void run_activated(struct fixture *fixture, int listener, const char *notify) {
        char pid[16];

        snprintf(pid, sizeof(pid), "%d", getpid());
        setenv("LISTEN_PID", pid, 1);
        setenv("LISTEN_FDS", "1", 1);
        setenv("NOTIFY_SOCKET", notify, 1);
        if (listener != 3)
                dup2(listener, 3);
        fd_set_cloexec(3, false);
        close(2);
        execl(BERTHD, BERTHD, "--foreground", "--socket", fixture->socket, "--state", fixture->directory,
              "--network-program", STAND_IN, NULL);
        _exit(127);
}

static void expect_notification(int fd, const char *expected) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        char text[64] = "";

        assert_int_equal(poll(&p, 1, 15000), 1);
        assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
        assert_string_equal(text, expected);
}

static void test_activation(void **state) {
        struct fixture *fixture = *state;
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        fixture_stop(fixture, SIGTERM);
        int listener = fd_listen_unix(fixture->socket, 0600);
        assert_true(listener >= 0);
        int notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", fixture->directory);
        assert_int_equal(bind(notify, (struct sockaddr *)&address, sizeof(address)), 0);

        /* Who connected before the broker was there could still pass it something. */
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = { .align = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
                                 .cmsg_type = SCM_RIGHTS } };
        struct iovec vector = { .iov_base = (char *)"{\"command\":\"list\"}\n", .iov_len = 19 };
        struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control,
                                  .msg_controllen = sizeof(control) };
        struct wire_message reply = WIRE_MESSAGE_INIT;
        int other, stubborn = harness_make_stubborn_socket(&other);
        struct wire *early = fixture_connect(fixture);
        memcpy(CMSG_DATA(&control.align), &stubborn, sizeof(stubborn));
        assert_int_equal(sendmsg(wire_fd(early), &message, MSG_NOSIGNAL), 19);
        fd_close(stubborn);

        fixture->broker = fork();
        if (fixture->broker == 0)
                run_activated(fixture, listener, address.sun_path);
        expect_notification(notify, "READY=1");
        struct wire *client = fixture_connect(fixture), *handle = acquire(client, "shared", NULL);
        receive_reply(early, &reply);
        assert_int_equal(error_of(reply.body), 4);
        wire_message_deinit(&reply);
        wire_free(early);
        fd_close(other);
        wire_free(handle);
        wire_free(client);
        assert_int_equal(fixture_stop(fixture, SIGTERM), 0);
        expect_notification(notify, "STOPPING=1");
        assert_true(exists(fixture, "run/broker.sock")); /* the manager's */
        fd_close(notify);
        fd_close(listener);
}

static void test_user_mode_for_root(void **state) {
        int status;

        if (geteuid() != 0)
                skip();
        pid_t pid = fork();
        if (pid == 0) {
                close(2);
                execl(BERTHD, BERTHD, "--user", NULL);
                _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WEXITSTATUS(status), 2);
}

#define WITH_BROKER(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

HARNESS_MAIN(WITH_BROKER(test_acquire), WITH_BROKER(test_acquire_twice_is_one_lease),
             WITH_BROKER(test_several_clients_and_networks), WITH_BROKER(test_pipelined),
             WITH_BROKER(test_errors), WITH_BROKER(test_network_that_cannot_be_made),
             WITH_BROKER(test_program_that_cannot_be_run), WITH_BROKER(test_death_of_a_waiting_client),
             WITH_BROKER(test_release), WITH_BROKER(test_remove), WITH_BROKER(test_enter),
             WITH_BROKER(test_list), WITH_BROKER(test_long_answers), WITH_BROKER(test_handle_crosses_the_leases_end),
             WITH_BROKER(test_removed_when_idle), WITH_BROKER(test_race_with_removal),
             WITH_BROKER(test_network_that_makes_noise), WITH_BROKER(test_network_killed),
             WITH_BROKER(test_network_killed_too_often), WITH_BROKER(test_many_handles),
             WITH_BROKER(test_broker_killed), WITH_BROKER(test_adoption_without_room),
             WITH_BROKER(test_network_without_room), WITH_BROKER(test_broker_terminated),
             WITH_BROKER(test_stale_leftovers), WITH_BROKER(test_second_broker),
             WITH_BROKER(test_idle_broker_ends), WITH_BROKER(test_race_with_the_brokers_end),
             WITH_BROKER(test_activation), cmocka_unit_test(test_user_mode_for_root))
