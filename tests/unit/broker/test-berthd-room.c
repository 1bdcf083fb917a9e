/* berthd: a broker, or a network, that has no file descriptor left. */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "fixture.h"

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

/* Connects until the broker's file descriptors have no gap up to what it has of its network, and gives their
 * number. */
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

/* Where a broker has no file descriptor left for what a network has, both go on, and it has it all once there
 * are. */
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
                /* It has come, was without room for `ready` or for a `lease` behind it, and has come again.
                 */
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

HARNESS_MAIN(WITH_BROKER(test_adoption_without_room), WITH_BROKER(test_network_without_room))
