/* network/forwards: the books: limits, numbers, and what the broker is told. What flows is test-relay.c's and e2e's. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "harness.h"
#include "network/forwards.h"

struct bench {
        struct loop *loop;
        struct forwards *forwards;
        unsigned n_added, n_removed, last_removed;
        unsigned told[8], n_told;
        unsigned room; /* for forwards_tell */
};

static uint32_t find_nobody(void *data, const char *name) {
        return 0;
}

static void on_added(void *data) {
        ((struct bench *)data)->n_added++;
}

static void on_removed(void *data, uint64_t lease, unsigned number) {
        struct bench *bench = data;

        bench->n_removed++;
        bench->last_removed = number;
}

static void make(struct bench *bench) {
        *bench = (struct bench){ .room = 8 };
        assert_int_equal(loop_new(&bench->loop), 0);
        const struct forwards_context context = { bench->loop, find_nobody, on_added, on_removed, bench };
        assert_int_equal(forwards_new(&bench->forwards, &context), 0);
}

static void end(struct bench *bench) {
        forwards_free(bench->forwards);
        loop_free(bench->loop);
}

/* A UDP forward of a lease and a user; with a number it is one of the process before. */
static int add(struct bench *bench, uint64_t lease, uint32_t uid, unsigned number, unsigned *ret,
               struct error *error) {
        const struct forward_request request = { lease, uid, number, FORWARD_UDP, "web", 53 };
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        return forwards_add(bench->forwards, &request, fd, ret, error);
}

static bool on_told(const struct forward_request *forward, int socket, void *data) {
        struct bench *bench = data;

        assert_string_equal(forward->name, "web");
        assert_int_equal(forward->port, 53);
        assert_true(socket >= 0);
        bench->told[bench->n_told++] = forward->number;
        return bench->n_told < bench->room;
}

static bool is_lease_1(void *data, uint64_t lease) {
        return lease == 1;
}

static size_t count(const struct bench *bench) {
        json_t *all = forwards_describe(bench->forwards, 0);
        size_t n = json_array_size(all);

        json_decref(all);
        return n;
}

/* A user is refused at the limit, another is not, and what is given back is never refused. */
static void test_limits(void **state) {
        struct bench bench;
        struct error error = ERROR_INIT;
        unsigned number = 0;

        make(&bench);
        for (unsigned i = 1; i <= FORWARDS_USER_MAX; i++) {
                assert_int_equal(add(&bench, 1, 1000, 0, &number, &error), 0);
                assert_int_equal(number, i);
        }
        assert_int_equal(add(&bench, 2, 1000, 0, &number, &error), -EDQUOT);
        assert_string_equal(error.text, "uid 1000 has 256 forwards on this network, which is the limit for one user");
        assert_int_equal(add(&bench, 3, 1001, 0, &number, &error), 0);
        assert_int_equal(add(&bench, 1, 1000, 9000, &number, &error), 0);
        forwards_end_lease(bench.forwards, 1);
        assert_int_equal(add(&bench, 2, 1000, 0, &number, &error), 0);
        assert_int_equal(count(&bench), 2);
        end(&bench);
}

/* The broker is told of each once, goes on where it stopped, and is not told of what it gave; another is told all. */
static void test_told(void **state) {
        struct bench bench;
        struct error error = ERROR_INIT;
        unsigned number = 0;

        make(&bench);
        assert_int_equal(add(&bench, 1, 1000, 7, &number, &error), 0);
        assert_int_equal(bench.n_added, 0);
        for (unsigned i = 8; i < 11; i++) {
                assert_int_equal(add(&bench, 1, 1000, 0, &number, &error), 0);
                assert_int_equal(number, i);
        }
        assert_int_equal(bench.n_added, 3);

        bench.room = 1;
        assert_false(forwards_tell(bench.forwards, on_told, &bench));
        bench.room = 8;
        assert_true(forwards_tell(bench.forwards, on_told, &bench));
        assert_true(forwards_tell(bench.forwards, on_told, &bench));
        assert_int_equal(bench.n_told, 3);
        assert_memory_equal(bench.told, ((unsigned[]){ 8, 9, 10 }), 3 * sizeof(unsigned));

        forwards_forget_broker(bench.forwards);
        bench.n_told = 0;
        assert_true(forwards_tell(bench.forwards, on_told, &bench));
        assert_int_equal(bench.n_told, 4);
        end(&bench);
}

/* A removal is told if the forward was; what ends with its lease is not. */
static void test_removed(void **state) {
        struct bench bench;
        struct error error = ERROR_INIT;
        unsigned first = 0, second = 0;

        make(&bench);
        assert_int_equal(add(&bench, 1, 1000, 0, &first, &error), 0);
        assert_int_equal(forwards_remove(bench.forwards, 2, first, &error), -ENOENT);
        assert_int_equal(forwards_remove(bench.forwards, 1, first, &error), 0);
        assert_int_equal(bench.n_removed, 0);

        assert_int_equal(add(&bench, 1, 1000, 0, &second, &error), 0);
        assert_true(forwards_tell(bench.forwards, on_told, &bench));
        assert_int_equal(forwards_remove(bench.forwards, 1, second, &error), 0);
        assert_int_equal(bench.n_removed, 1);
        assert_int_equal(bench.last_removed, second);

        assert_int_equal(add(&bench, 1, 1000, 0, &first, &error), 0);
        assert_int_equal(add(&bench, 2, 1000, 20, &second, &error), 0);
        forwards_end_strays(bench.forwards, is_lease_1, NULL);
        assert_int_equal(count(&bench), 1);
        forwards_end_lease(bench.forwards, 1);
        assert_int_equal(count(&bench), 0);
        assert_int_equal(bench.n_removed, 1);
        end(&bench);
}

/* The port of one that is removed is free at once, though the broker still has its copy of the socket. */
static void test_port_is_free(void **state) {
        const struct forward_request request = { 1, 1000, 0, FORWARD_TCP, "web", 80 };
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);
        struct bench bench;
        struct error error = ERROR_INIT;
        unsigned number = 0;
        const int on = 1;

        make(&bench);
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), next = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        setsockopt(next, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
        /* With a port that was asked for, as a VM's are: the kernel keeps it for the socket's life. */
        fd_close(listener);
        listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(listener, 1), 0);
        int copy = fd_dup(listener);
        assert_int_equal(forwards_add(bench.forwards, &request, listener, &number, &error), 0);
        assert_int_equal(bind(next, (struct sockaddr *)&address, sizeof(address)), -1);

        assert_int_equal(forwards_remove(bench.forwards, 1, number, &error), 0);
        assert_int_equal(bind(next, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(next, 1), 0);
        fd_close(next);
        fd_close(copy);
        end(&bench);
}

HARNESS_MAIN(cmocka_unit_test(test_limits), cmocka_unit_test(test_told), cmocka_unit_test(test_removed),
             cmocka_unit_test(test_port_is_free))
