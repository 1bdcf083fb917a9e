/* network/relay */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "harness.h"
#include "network/relay.h"

#define PATIENCE 60000000ULL

/* A relay between two sockets whose other ends are `near` and `far`. */
struct bench {
        struct loop *loop;
        struct relay *relay; /* NULL once it has ended */
        int near, far;
};

static void on_ended(struct relay *relay, void *data) {
        struct bench *bench = data;

        bench->relay = relay_free(relay);
        loop_exit(bench->loop, 0);
}

static int on_readable(struct source *source, int fd, uint32_t events, void *data) {
        loop_exit(data, 0);
        return 0;
}

static int on_time(struct source *source, void *data) {
        loop_exit(data, -ETIMEDOUT);
        return 0;
}

/* Runs until the fd is ready (-1: until the relay ends). 0, or -ETIMEDOUT. */
static int run_until(struct bench *bench, int fd, uint32_t events, uint64_t patience) {
        struct source *source = NULL, *timer;

        assert_int_equal(loop_add_timer(bench->loop, &timer, on_time, bench->loop), 0);
        source_arm(timer, patience);
        if (fd >= 0)
                assert_int_equal(loop_add_fd(bench->loop, &source, fd, events, on_readable, bench->loop), 0);
        int r = loop_run(bench->loop);
        source_free(source);
        source_free(timer);
        return r;
}

/* A listening TCP socket on the loopback. */
static int listen_tcp(struct sockaddr_in *ret) {
        socklen_t size = sizeof(*ret);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        *ret = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        assert_true(fd >= 0);
        assert_int_equal(bind(fd, (struct sockaddr *)ret, size), 0);
        assert_int_equal(listen(fd, 1), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &size), 0);
        return fd;
}

static void make_tcp_pair(int ret[static 2]) {
        struct sockaddr_in address;
        _cleanup_fd_ int listener = listen_tcp(&address);

        ret[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(ret[0], (struct sockaddr *)&address, sizeof(address)), 0);
        ret[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(ret[1] >= 0);
}

static void make_bench(struct bench *bench, bool tcp) {
        int a[2], b[2];

        if (tcp) {
                make_tcp_pair(a);
                make_tcp_pair(b);
        } else {
                assert_int_equal(fd_socketpair(a, false), 0);
                assert_int_equal(fd_socketpair(b, false), 0);
        }
        signal(SIGPIPE, SIG_IGN); /* as berth-network has it */
        *bench = (struct bench){ .near = a[0], .far = b[0] };
        assert_int_equal(loop_new(&bench->loop), 0);
        assert_int_equal(relay_new(&bench->relay, bench->loop, a[1], b[1], on_ended, bench), 0);
}

static void end_bench(struct bench *bench) {
        relay_free(bench->relay);
        loop_free(bench->loop);
        fd_close(bench->near);
        fd_close(bench->far);
}

static long cpu_used(void) {
        struct rusage usage;

        getrusage(RUSAGE_SELF, &usage);
        return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L + usage.ru_utime.tv_usec +
               usage.ru_stime.tv_usec;
}

/* Whether 200 ms in which nothing is to be done cost hardly any of the processor. Looked at up to three times: what a
 * hypervisor takes from us while we run is counted as ours. */
static bool is_idle(struct bench *bench) {
        for (int i = 0; i < 3; i++) {
                long before = cpu_used();

                run_until(bench, -1, 0, 200000);
                if (cpu_used() - before < 100000)
                        return true;
        }
        return false;
}

static void expect(struct bench *bench, int fd, const char *text) {
        char buffer[64];

        assert_int_equal(run_until(bench, fd, EPOLLIN, PATIENCE), 0);
        assert_int_equal(read(fd, buffer, sizeof(buffer)), strlen(text));
        assert_memory_equal(buffer, text, strlen(text));
}

/* An abort is not taken for an end. */
static void expect_reset(struct bench *bench, int fd) {
        char byte;

        assert_int_equal(run_until(bench, fd, EPOLLIN, PATIENCE), 0);
        assert_int_equal(read(fd, &byte, 1), -1);
        assert_int_equal(errno, ECONNRESET);
}

/* One side ends its stream; the other is heard to its own end. */
static void check_half_close(bool tcp, bool swap) {
        struct bench bench;

        make_bench(&bench, tcp);
        int first = swap ? bench.far : bench.near, second = swap ? bench.near : bench.far;
        assert_int_equal(write(first, "question", 8), 8);
        assert_int_equal(shutdown(first, SHUT_WR), 0);
        expect(&bench, second, "question");
        expect(&bench, second, "");
        assert_non_null(bench.relay);
        assert_int_equal(write(second, "answer", 6), 6);
        expect(&bench, first, "answer");
        assert_int_equal(shutdown(second, SHUT_WR), 0);
        assert_int_equal(run_until(&bench, -1, 0, PATIENCE), 0);
        assert_null(bench.relay);
        expect(&bench, first, "");
        end_bench(&bench);
}

static void test_half_close(void **state) {
        check_half_close(true, false);
        check_half_close(true, true);
        check_half_close(false, false);
        check_half_close(false, true);
}

static uint8_t byte_at(size_t i) {
        return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

struct transfer {
        struct bench *bench;
        size_t sent, received, total;
};

static int on_writable(struct source *source, int fd, uint32_t events, void *data) {
        struct transfer *transfer = data;
        uint8_t chunk[8191];
        size_t n = transfer->total - transfer->sent < sizeof(chunk) ? transfer->total - transfer->sent
                                                                    : sizeof(chunk);

        for (size_t i = 0; i < n; i++)
                chunk[i] = byte_at(transfer->sent + i);
        ssize_t written = write(fd, chunk, n);
        if (written > 0)
                transfer->sent += (size_t)written;
        if (transfer->sent == transfer->total) {
                shutdown(fd, SHUT_WR);
                source_set_events(source, 0);
        }
        return 0;
}

/* Reads little at a time, so that all buffers on the way are full. */
static int on_slow_reader(struct source *source, int fd, uint32_t events, void *data) {
        struct transfer *transfer = data;
        uint8_t chunk[1021];

        ssize_t n = read(fd, chunk, sizeof(chunk));
        for (ssize_t i = 0; i < n; i++)
                if (chunk[i] != byte_at(transfer->received + (size_t)i))
                        return -EBADMSG;
        if (n > 0)
                transfer->received += (size_t)n;
        if (n == 0)
                loop_exit(transfer->bench->loop, 1);
        return n < 0 && errno != EAGAIN ? -errno : 0;
}

static void test_slow_reader(void **state) {
        struct bench bench;
        struct source *writer, *reader, *timer;

        make_bench(&bench, true);
        struct transfer transfer = { .bench = &bench, .total = 5 * 1024 * 1024 + 3 };
        fd_set_nonblock(bench.near, true);
        fd_set_nonblock(bench.far, true);
        assert_int_equal(loop_add_fd(bench.loop, &writer, bench.near, EPOLLOUT, on_writable, &transfer), 0);
        assert_int_equal(loop_add_fd(bench.loop, &reader, bench.far, EPOLLIN, on_slow_reader, &transfer), 0);
        assert_int_equal(loop_add_timer(bench.loop, &timer, on_time, bench.loop), 0);
        source_arm(timer, 60000000);
        assert_int_equal(loop_run(bench.loop), 1);
        assert_int_equal(transfer.received, transfer.total);
        source_free(writer);
        source_free(reader);
        source_free(timer);
        end_bench(&bench);
}

static void test_reset(void **state) {
        struct bench bench;
        struct linger at_once = { .l_onoff = 1 };

        make_bench(&bench, true);
        assert_int_equal(setsockopt(bench.near, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
        bench.near = fd_close(bench.near);
        assert_int_equal(run_until(&bench, -1, 0, PATIENCE), 0);
        assert_null(bench.relay);
        expect_reset(&bench, bench.far);
        end_bench(&bench);
}

/* What was said before a reset is heard; a direct connection would not lose it either. */
static void test_last_words(void **state) {
        struct bench bench;
        struct linger at_once = { .l_onoff = 1 };

        make_bench(&bench, true);
        assert_int_equal(write(bench.near, "last words", 10), 10);
        assert_int_equal(setsockopt(bench.near, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
        bench.near = fd_close(bench.near);
        expect(&bench, bench.far, "last words");
        expect_reset(&bench, bench.far);
        end_bench(&bench);
}

/* Whatever ends the relay before the streams have ended: both peers can tell. */
static void test_cut(void **state) {
        struct bench bench;

        make_bench(&bench, true);
        assert_int_equal(write(bench.near, "half", 4), 4);
        expect(&bench, bench.far, "half");
        /* One that has said all is still to be told that it was not heard to the end. */
        assert_int_equal(shutdown(bench.far, SHUT_WR), 0);
        expect(&bench, bench.near, "");
        bench.relay = relay_free(bench.relay);
        expect_reset(&bench, bench.far);
        end_bench(&bench);
}

/* SIGKILL too. */
static void test_killed(void **state) {
        struct bench bench = {};
        int near[2], far[2], ready[2];
        char byte;

        make_tcp_pair(near);
        make_tcp_pair(far);
        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0) {
                struct bench child = {};
                fd_close(near[0]);
                fd_close(far[0]);
                if (loop_new(&child.loop) == 0 &&
                    relay_new(&child.relay, child.loop, near[1], far[1], on_ended, &child) == 0 &&
                    write(ready[1], "", 1) == 1)
                        loop_run(child.loop);
                _exit(1);
        }
        fd_close(near[1]);
        fd_close(far[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(loop_new(&bench.loop), 0);
        expect_reset(&bench, near[0]);
        expect_reset(&bench, far[0]);
        loop_free(bench.loop);
        fd_close(near[0]);
        fd_close(far[0]);
        fd_close(ready[0]);
        fd_close(ready[1]);
}

/* Urgent bytes are passed on in their place, and what follows them too. */
static void test_urgent(void **state) {
        struct bench bench;
        char text[8];
        size_t n = 0;

        make_bench(&bench, true);
        assert_int_equal(send(bench.near, "a", 1, 0), 1);
        assert_int_equal(send(bench.near, "b", 1, MSG_OOB), 1);
        assert_int_equal(send(bench.near, "cdef", 4, 0), 4);
        while (n < 6) {
                assert_int_equal(run_until(&bench, bench.far, EPOLLIN, PATIENCE), 0);
                ssize_t more = read(bench.far, text + n, sizeof(text) - n);
                assert_true(more > 0);
                n += (size_t)more;
        }
        assert_memory_equal(text, "abcdef", 6);
        /* And with nothing behind it. */
        assert_int_equal(send(bench.near, "g", 1, MSG_OOB), 1);
        expect(&bench, bench.far, "g");
        assert_true(is_idle(&bench));
        end_bench(&bench);
}

/* One side is given while it still connects, and may hear of data and of the other's end only then. */
static void check_connecting(const char *data) {
        struct bench bench = { .far = -1 };
        struct sockaddr_in address;
        _cleanup_fd_ int listener = listen_tcp(&address);
        int pair[2], upstream;

        /* The queue of the listener is one long: a further connection is not answered until there is room. */
        _cleanup_fd_ int first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        _cleanup_fd_ int second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(first, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(connect(second, (struct sockaddr *)&address, sizeof(address)), 0);
        upstream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_int_equal(connect(upstream, (struct sockaddr *)&address, sizeof(address)), -1);
        assert_int_equal(errno, EINPROGRESS);

        make_tcp_pair(pair);
        bench.near = pair[0];
        assert_int_equal(loop_new(&bench.loop), 0);
        assert_int_equal(write(bench.near, data, strlen(data)), strlen(data));
        assert_int_equal(shutdown(bench.near, SHUT_WR), 0);
        assert_int_equal(relay_new(&bench.relay, bench.loop, pair[1], upstream, on_ended, &bench), 0);

        /* The end is known by now, and nothing is there to be done. */
        assert_int_equal(run_until(&bench, -1, 0, 50000), -ETIMEDOUT);
        assert_non_null(bench.relay);
        fd_close(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
        fd_close(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
        assert_int_equal(run_until(&bench, listener, EPOLLIN, PATIENCE), 0);
        bench.far = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(bench.far >= 0);
        if (*data)
                expect(&bench, bench.far, data);
        expect(&bench, bench.far, "");
        assert_int_equal(write(bench.far, "answer", 6), 6);
        expect(&bench, bench.near, "answer");
        end_bench(&bench);
}

static void test_connecting(void **state) {
        check_connecting("question");
        check_connecting("");
}

static void test_refused(void **state) {
        struct bench bench = { .far = -1 };
        struct sockaddr_in address;
        int pair[2], upstream;

        fd_close(listen_tcp(&address)); /* nobody listens there now */
        make_tcp_pair(pair);
        upstream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connect(upstream, (struct sockaddr *)&address, sizeof(address));
        bench.near = pair[0];
        assert_int_equal(loop_new(&bench.loop), 0);
        assert_int_equal(relay_new(&bench.relay, bench.loop, pair[1], upstream, on_ended, &bench), 0);
        assert_int_equal(run_until(&bench, -1, 0, PATIENCE), 0);
        assert_null(bench.relay);
        expect_reset(&bench, bench.near);
        end_bench(&bench);
}

/* A peer that is gone altogether while the other says nothing costs no time. */
static void check_hang_up(bool tcp) {
        struct bench bench;

        make_bench(&bench, tcp);
        bench.near = fd_close(bench.near);
        expect(&bench, bench.far, "");
        assert_true(is_idle(&bench));
        end_bench(&bench);
}

static void test_hang_up(void **state) {
        check_hang_up(true);
        check_hang_up(false);
}

HARNESS_MAIN(cmocka_unit_test(test_half_close), cmocka_unit_test(test_slow_reader),
             cmocka_unit_test(test_reset), cmocka_unit_test(test_last_words), cmocka_unit_test(test_cut),
             cmocka_unit_test(test_killed), cmocka_unit_test(test_urgent), cmocka_unit_test(test_connecting), cmocka_unit_test(test_refused),
             cmocka_unit_test(test_hang_up))
