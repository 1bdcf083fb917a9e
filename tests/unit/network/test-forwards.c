/* network/forwards: the books, and what a client can do to a socket of which it kept a copy. What flows is test-relay.c's
 * and e2e's as well. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

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

/* The loopback's address stands for a VM's. */
static uint32_t find_vm(void *data, const char *name) {
        return INADDR_LOOPBACK;
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
        const struct forwards_context context = { bench->loop, find_vm, on_added, on_removed, bench };
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

static bool on_told_any(const struct forward_request *forward, int socket, void *data) {
        return true;
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

static int on_ready(struct source *source, int fd, uint32_t events, void *data) {
        loop_exit(data, 0);
        return 0;
}

static int on_time(struct source *source, void *data) {
        loop_exit(data, -ETIMEDOUT);
        return 0;
}

static void run_until(struct bench *bench, int fd) {
        struct source *source, *timer;

        assert_int_equal(loop_add_timer(bench->loop, &timer, on_time, bench->loop), 0);
        source_arm(timer, 60000000);
        assert_int_equal(loop_add_fd(bench->loop, &source, fd, EPOLLIN, on_ready, bench->loop), 0);
        assert_int_equal(loop_run(bench->loop), 0);
        source_free(source);
        source_free(timer);
}

struct turns {
        struct loop *loop;
        unsigned left;
};

static int on_turn(struct source *source, void *data) {
        struct turns *turns = data;

        if (--turns->left == 0)
                loop_exit(turns->loop, 0);
        source_arm(source, 0);
        return 0;
}

/* For as many turns as anything needs that has happened already. */
static void run_turns(struct bench *bench) {
        struct turns turns = { bench->loop, 20 };
        struct source *timer;

        assert_int_equal(loop_add_timer(bench->loop, &timer, on_turn, &turns), 0);
        source_arm(timer, 0);
        assert_int_equal(loop_run(bench->loop), 0);
        source_free(timer);
}

static uint16_t port_of(int fd) {
        struct sockaddr_storage address;
        socklen_t size = sizeof(address);

        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
        return ntohs(address.ss_family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port :
                                                    ((struct sockaddr_in6 *)&address)->sin6_port);
}

static int bind_ipv4(int type, uint32_t host) {
        const struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(host) };
        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

        assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
        if (type == SOCK_STREAM)
                assert_int_equal(listen(fd, 8), 0);
        return fd;
}

static int connect_ipv4(int type, uint32_t host, uint16_t port) {
        const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port),
                                             .sin_addr.s_addr = htonl(host) };
        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

        assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

/* A forward to a port of the "VM", of a socket of which a copy is returned. */
static int forward(struct bench *bench, uint32_t uid, enum forward_protocol protocol, int socket, uint16_t port,
                   unsigned *ret_number) {
        const struct forward_request request = { 1, uid, 0, protocol, "web", port };
        struct error error = ERROR_INIT;
        int copy = fd_dup(socket);

        assert_true(copy >= 0);
        assert_int_equal(forwards_add(bench->forwards, &request, socket, ret_number, &error), 0);
        return copy;
}

static unsigned channels_of(const struct bench *bench, unsigned number) {
        json_t *all = forwards_describe(bench->forwards, 0), *one;
        unsigned n = UINT_MAX;
        size_t i;

        json_array_foreach(all, i, one)
                if (json_integer_value(json_object_get(one, "forward")) == number)
                        n = (unsigned)json_integer_value(json_object_get(one, "connections"));
        json_decref(all);
        return n;
}

static void test_one_forward_for_a_socket(void **state) {
        const struct forward_request request = { 1, 1000, 0, FORWARD_TCP, "web", 80 };
        struct bench bench;
        struct error error = ERROR_INIT;
        unsigned number = 0, ignored;

        make(&bench);
        int copy = forward(&bench, 1000, FORWARD_TCP, bind_ipv4(SOCK_STREAM, INADDR_LOOPBACK), 80, &number);
        assert_int_equal(forwards_add(bench.forwards, &request, fd_dup(copy), &ignored, &error), -EEXIST);
        assert_string_equal(error.text, "the socket is that of forward 1 already; each needs one of its own");
        assert_int_equal(count(&bench), 1);
        fd_close(copy);
        end(&bench);
}

/* Nobody could reach it, and it would be listed with port 0. */
static void test_no_port(void **state) {
        const struct forward_request request = { 1, 1000, 0, FORWARD_UDP, "web", 53 };
        struct bench bench;
        struct error error = ERROR_INIT;
        unsigned ignored;

        make(&bench);
        int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_int_equal(forwards_add(bench.forwards, &request, fd, &ignored, &error), -EINVAL);
        assert_string_equal(error.text, "the socket has no port: bind it first");
        assert_int_equal(count(&bench), 0);
        end(&bench);
}

/* A copy that is shut down ends the forward, once and for all. */
static void check_shut_down(enum forward_protocol protocol, int how) {
        struct bench bench;
        unsigned number = 0;

        make(&bench);
        int copy = forward(&bench, 1000, protocol,
                           bind_ipv4(protocol == FORWARD_TCP ? SOCK_STREAM : SOCK_DGRAM, INADDR_LOOPBACK), 80, &number);
        assert_true(forwards_tell(bench.forwards, on_told_any, &bench));
        shutdown(copy, how); /* of UDP it fails, and has its effect */
        run_turns(&bench);
        assert_int_equal(count(&bench), 0);
        assert_int_equal(bench.n_removed, 1);
        assert_int_equal(bench.last_removed, number);
        fd_close(copy);
        end(&bench);
}

static void test_shut_down(void **state) {
        check_shut_down(FORWARD_TCP, SHUT_RDWR);
        check_shut_down(FORWARD_TCP, SHUT_RD);
        check_shut_down(FORWARD_UDP, SHUT_RDWR);
        check_shut_down(FORWARD_UDP, SHUT_RD);
}

static void clear_nonblock(int fd) {
        assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
}

/* The mode of a file is its copies', too: nobody makes us wait by it. */
static void test_blocking_datagrams(void **state) {
        struct bench bench;
        unsigned number = 0;
        char byte;

        make(&bench);
        _cleanup_fd_ int vm = bind_ipv4(SOCK_DGRAM, INADDR_LOOPBACK);
        _cleanup_fd_ int copy = forward(&bench, 1000, FORWARD_UDP, bind_ipv4(SOCK_DGRAM, INADDR_LOOPBACK), port_of(vm),
                                        &number);
        _cleanup_fd_ int client = connect_ipv4(SOCK_DGRAM, INADDR_LOOPBACK, port_of(copy));
        clear_nonblock(copy);
        assert_int_equal(send(client, "x", 1, 0), 1);
        run_until(&bench, vm);
        assert_int_equal(recv(vm, &byte, 1, MSG_DONTWAIT), 1);
        end(&bench);
}

/* Takes the connection that the loop was told of, before the forward gets to it. */
static int on_thief(struct source *source, int fd, uint32_t events, void *data) {
        int *copy = data;
        uint64_t value;

        assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
        clear_nonblock(*copy);
        fd_close(accept4(*copy, NULL, NULL, SOCK_CLOEXEC));
        return 0;
}

static void test_stolen_connection(void **state) {
        struct bench bench;
        struct source *source;
        unsigned number = 0;

        make(&bench);
        _cleanup_fd_ int copy = forward(&bench, 1000, FORWARD_TCP, bind_ipv4(SOCK_STREAM, INADDR_LOOPBACK), 80, &number);
        _cleanup_fd_ int signal = eventfd(0, EFD_CLOEXEC);
        assert_int_equal(loop_add_fd(bench.loop, &source, signal, EPOLLIN, on_thief, &copy), 0);
        assert_int_equal(eventfd_write(signal, 1), 0);
        _cleanup_fd_ int client = connect_ipv4(SOCK_STREAM, INADDR_LOOPBACK, port_of(copy));
        assert_true(client >= 0);
        run_turns(&bench);
        assert_int_equal(count(&bench), 1);
        end(&bench);
}

/* An error queue that its owner asked for is emptied: the loop would spin on it. */
static void test_error_queue(void **state) {
        struct bench bench;
        unsigned number = 0;
        const int on = 1;

        make(&bench);
        _cleanup_fd_ int copy = forward(&bench, 1000, FORWARD_UDP, bind_ipv4(SOCK_DGRAM, INADDR_LOOPBACK), 80, &number);
        assert_int_equal(setsockopt(copy, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)), 0);
        int closed = bind_ipv4(SOCK_DGRAM, INADDR_LOOPBACK);
        struct sockaddr_in nobody = { .sin_family = AF_INET, .sin_port = htons(port_of(closed)),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        fd_close(closed);
        assert_int_equal(sendto(copy, "x", 1, 0, (struct sockaddr *)&nobody, sizeof(nobody)), 1);
        struct pollfd poller = { .fd = copy };
        assert_int_equal(poll(&poller, 1, 60000), 1);
        assert_true(poller.revents & POLLERR);
        run_turns(&bench);
        assert_int_equal(poll(&poller, 1, 0), 0);
        assert_int_equal(count(&bench), 1);
        end(&bench);
}

/* A client asks one of the host's addresses, and is answered from it. */
static void check_local_address(int forward_fd, int client) {
        struct bench bench;
        unsigned number = 0;
        struct sockaddr_storage from;
        socklen_t size = sizeof(from);
        char byte;

        make(&bench);
        _cleanup_fd_ int vm = bind_ipv4(SOCK_DGRAM, INADDR_LOOPBACK);
        _cleanup_fd_ int copy = forward(&bench, 1000, FORWARD_UDP, forward_fd, port_of(vm), &number);
        assert_true(copy >= 0);
        assert_int_equal(send(client, "?", 1, 0), 1);
        run_until(&bench, vm);
        assert_int_equal(recvfrom(vm, &byte, 1, MSG_DONTWAIT, (struct sockaddr *)&from, &size), 1);
        assert_int_equal(sendto(vm, "!", 1, 0, (struct sockaddr *)&from, size), 1);
        run_until(&bench, client); /* which is connected: it hears nobody else */
        assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), 1);
        assert_int_equal(byte, '!');
        end(&bench);
}

static void test_local_address(void **state) {
        const struct sockaddr_in6 all = { .sin6_family = AF_INET6 };
        struct sockaddr_in6 one = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

        int fd = bind_ipv4(SOCK_DGRAM, INADDR_ANY);
        _cleanup_fd_ int ipv4 = connect_ipv4(SOCK_DGRAM, 0x7f000005, port_of(fd));
        check_local_address(fd, ipv4);

        fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (const struct sockaddr *)&all, sizeof(all)), 0);
        _cleanup_fd_ int mapped = connect_ipv4(SOCK_DGRAM, 0x7f000005, port_of(fd));
        check_local_address(fd, mapped);

        fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (const struct sockaddr *)&all, sizeof(all)), 0);
        one.sin6_port = htons(port_of(fd));
        _cleanup_fd_ int ipv6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(ipv6, (struct sockaddr *)&one, sizeof(one)), 0);
        check_local_address(fd, ipv6);
}

static void ask_from_new_port(struct bench *bench, int copy, int vm) {
        _cleanup_fd_ int client = connect_ipv4(SOCK_DGRAM, INADDR_LOOPBACK, port_of(copy));
        char byte;

        assert_int_equal(send(client, "?", 1, 0), 1);
        run_until(bench, vm);
        assert_int_equal(recv(vm, &byte, 1, MSG_DONTWAIT), 1);
}

/* However many flows one user has, new ones are possible: for it, for others, and for connections. */
static void test_shares(void **state) {
        struct rlimit limit;
        struct bench bench;
        unsigned many = 0, few = 0, other = 0, stream = 0;

        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max < 8192 ? limit.rlim_max : 8192;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        make(&bench);
        _cleanup_fd_ int vm = bind_ipv4(SOCK_DGRAM, INADDR_LOOPBACK), web = bind_ipv4(SOCK_STREAM, INADDR_LOOPBACK);
        _cleanup_fd_ int copy = forward(&bench, 1000, FORWARD_UDP, bind_ipv4(SOCK_DGRAM, INADDR_LOOPBACK), port_of(vm), &many);
        _cleanup_fd_ int second = forward(&bench, 1000, FORWARD_UDP, bind_ipv4(SOCK_DGRAM, INADDR_LOOPBACK), port_of(vm), &few);
        _cleanup_fd_ int others = forward(&bench, 1001, FORWARD_UDP, bind_ipv4(SOCK_DGRAM, INADDR_LOOPBACK), port_of(vm), &other);
        _cleanup_fd_ int listener = forward(&bench, 1000, FORWARD_TCP, bind_ipv4(SOCK_STREAM, INADDR_LOOPBACK), port_of(web), &stream);

        for (int i = 0; i < FORWARDS_CONNECTIONS_MAX / 2 + 100; i++)
                ask_from_new_port(&bench, copy, vm);
        assert_int_equal(channels_of(&bench, many), FORWARDS_CONNECTIONS_MAX / 2);
        ask_from_new_port(&bench, second, vm);
        assert_int_equal(channels_of(&bench, few), 1);
        assert_int_equal(channels_of(&bench, many), FORWARDS_CONNECTIONS_MAX / 2 - 1);
        ask_from_new_port(&bench, others, vm);
        assert_int_equal(channels_of(&bench, other), 1);
        _cleanup_fd_ int client = connect_ipv4(SOCK_STREAM, INADDR_LOOPBACK, port_of(listener));
        assert_true(client >= 0);
        run_until(&bench, web);
        assert_int_equal(channels_of(&bench, stream), 1);
        end(&bench);
}

HARNESS_MAIN(cmocka_unit_test(test_limits), cmocka_unit_test(test_told), cmocka_unit_test(test_removed),
             cmocka_unit_test(test_port_is_free), cmocka_unit_test(test_one_forward_for_a_socket),
             cmocka_unit_test(test_no_port), cmocka_unit_test(test_shut_down), cmocka_unit_test(test_blocking_datagrams),
             cmocka_unit_test(test_stolen_connection), cmocka_unit_test(test_error_queue),
             cmocka_unit_test(test_local_address), cmocka_unit_test(test_shares))
