/* broker/lease */
#include "harness.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "broker/client.h"
#include "broker/lease.h"

static struct lease *make(struct users *users, int *client_end) {
        struct user *user = users_get(users, 1000);
        struct lease *lease = lease_new(7, NULL, user, 1, "test");
        int pair[2];

        user_unref(user);
        assert_non_null(lease);
        assert_int_equal(fd_socketpair(pair, false), 0);
        assert_int_equal(lease_add_handle(lease, pair[1], NULL), 0);
        *client_end = pair[0];
        return lease;
}

static void test_sweep(void **state) {
        struct users users;
        int ends[20];

        list_init(&users.list);
        struct lease *lease = make(&users, &ends[0]);
        for (int i = 1; i < 20; i++) {
                int pair[2];

                assert_int_equal(fd_socketpair(pair, false), 0);
                assert_int_equal(lease_add_handle(lease, pair[1], NULL), 0);
                ends[i] = pair[0];
        }
        assert_int_equal(lease_sweep(lease), 20);
        for (int i = 0; i < 20; i += 2)
                fd_close(ends[i]);
        assert_int_equal(lease_sweep(lease), 10);
        assert_int_equal(lease->user->charges[CHARGE_HANDLE], 10);
        shutdown(ends[1], SHUT_WR); /* as good as closed: nothing more can be asked over it */
        assert_int_equal(lease_sweep(lease), 9);
        for (int i = 1; i < 20; i += 2)
                fd_close(ends[i]);
        assert_int_equal(lease_sweep(lease), 0);
        lease_free(lease);
        assert_true(list_empty(&users.list));
}

/* A client that acquires and closes all day makes the broker hold no more than a few. */
static void test_handles_do_not_pile_up(void **state) {
        struct users users;
        int last;

        list_init(&users.list);
        struct lease *lease = make(&users, &last);
        for (int i = 0; i < 3 * USER_HANDLES_MAX; i++) {
                int pair[2];

                fd_close(last);
                assert_int_equal(fd_socketpair(pair, false), 0);
                assert_int_equal(lease_add_handle(lease, pair[1], NULL), 0);
                last = pair[0];
        }
        assert_true(lease->n_handles <= 4);
        fd_close(last);
        lease_free(lease);
}

static void test_leases_of_a_connection(void **state) {
        struct users users;
        struct client client = {};
        struct lease *leases[CLIENT_LEASES_MAX + 1];
        int ends[CLIENT_LEASES_MAX + 1];
        struct error error = ERROR_INIT;

        list_init(&users.list);
        list_init(&client.leases);
        for (int i = 0; i <= CLIENT_LEASES_MAX; i++) {
                leases[i] = make(&users, &ends[i]);
                assert_int_equal(client_take_lease(&client, leases[i], &error),
                                 i < CLIENT_LEASES_MAX ? 0 : -EDQUOT);
        }
        assert_string_equal(error.text, "this connection has 64 networks, which is the limit for one");
        for (int i = 0; i <= CLIENT_LEASES_MAX; i++) {
                lease_free(leases[i]);
                fd_close(ends[i]);
        }
        assert_true(list_empty(&client.leases));
}

/* The broker's copies may be the last: of a forward's socket, and of a handle whose queue nobody read. */
static void test_stubborn_sockets(void **state) {
        json_auto_t *body = json_object();
        struct users users;
        int client_end, others[3];

        list_init(&users.list);
        struct lease *lease = make(&users, &client_end);
        harness_pass_fd(client_end, harness_make_stubborn_socket(&others[0]));
        for (unsigned i = 1; i < 3; i++)
                assert_int_equal(lease_add_forward(lease, i, body, harness_make_stubborn_socket(&others[i])), 0);
        lease_remove_forward(lease, 1);
        lease_free(lease);
        fd_close(client_end);
        for (size_t i = 0; i < 3; i++)
                fd_close(others[i]);
}

HARNESS_MAIN(cmocka_unit_test(test_stubborn_sockets), cmocka_unit_test(test_sweep), cmocka_unit_test(test_handles_do_not_pile_up),
             cmocka_unit_test(test_leases_of_a_connection))
