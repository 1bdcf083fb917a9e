/* network/leases: requests over real handles, ports in a real namespace */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "network/forwards.h"
#include "network/leases.h"
#include "wire/wire.h"
#include "world.h"

struct bench {
        struct world world;
        struct loop *loop;
        struct forwards *forwards;
        struct leases *leases;
        char events[200]; /* "ended 7, idle, " */
};

static void note(struct bench *bench, const char *text) {
        strncat(bench->events, text, sizeof(bench->events) - strlen(bench->events) - 1);
        loop_exit(bench->loop, 0);
}

static void on_ended(void *data, uint64_t lease) {
        char text[40];

        snprintf(text, sizeof(text), "ended %llu, ", (unsigned long long)lease);
        note(data, text);
}

static void on_idle(void *data, bool idle) {
        note(data, idle ? "idle, " : "busy, ");
}

static uint32_t find_nobody(void *data, const char *name) {
        return 0;
}

static void on_forward_added(void *data) {
        note(data, "forward, ");
}

static void on_forward_removed(void *data, uint64_t lease, unsigned number) {
        char text[60];

        snprintf(text, sizeof(text), "unforward %llu %u, ", (unsigned long long)lease, number);
        note(data, text);
}

static void make(struct bench *bench, const char *changes) {
        world_make(&bench->world, changes);
        signal(SIGPIPE, SIG_IGN);
        assert_int_equal(loop_new(&bench->loop), 0);
        const struct forwards_context forwards = { bench->loop, find_nobody, on_forward_added, on_forward_removed,
                                                   bench };
        assert_int_equal(forwards_new(&bench->forwards, &forwards), 0);
        const struct leases_context context = {
                .loop = bench->loop,
                .configuration = &bench->world.configuration,
                .ports = bench->world.ports,
                .forwards = bench->forwards,
                .ended = on_ended,
                .idle = on_idle,
                .data = bench,
        };
        bench->events[0] = 0;
        assert_int_equal(leases_new(&bench->leases, &context), 0);
}

static void end(struct bench *bench) {
        leases_free(bench->leases);
        forwards_free(bench->forwards);
        loop_free(bench->loop);
        world_end(&bench->world);
}

/* A handle's other end, as a client has it. */
static struct wire *add(struct bench *bench, uint64_t lease) {
        struct wire *wire = NULL;
        int pair[2];

        assert_int_equal(fd_socketpair(pair, true), 0);
        assert_int_equal(wire_new(&wire, pair[0]), 0);
        assert_int_equal(leases_add(bench->leases, lease, 1000, 4711, "test", pair[1], NULL), 0);
        return wire;
}

static int on_readable(struct source *source, int fd, uint32_t events, void *data) {
        loop_exit(data, 0);
        return 0;
}

static int on_time(struct source *source, void *data) {
        loop_exit(data, -ETIMEDOUT);
        return 0;
}

/* Runs the loop until the client has something to read (NULL: until an event). */
static void run(struct bench *bench, struct wire *client) {
        struct source *source = NULL, *timer;

        assert_int_equal(loop_add_timer(bench->loop, &timer, on_time, bench->loop), 0);
        source_arm(timer, 60000000);
        if (client)
                assert_int_equal(
                        loop_add_fd(bench->loop, &source, wire_fd(client), EPOLLIN, on_readable, bench->loop),
                        0);
        assert_int_equal(loop_run(bench->loop), 0);
        source_free(source);
        source_free(timer);
}

static void put(struct wire *client, const char *text) {
        assert_int_equal(send(wire_fd(client), text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static struct wire_message take(struct bench *bench, struct wire *client) {
        struct wire_message message = WIRE_MESSAGE_INIT;
        struct error error = ERROR_INIT;
        int r;

        while ((r = wire_receive(client, &message, &error)) == WIRE_AGAIN)
                run(bench, client);
        assert_int_equal(r, WIRE_MESSAGE);
        return message;
}

/* The reply to a request is an error with this code and a message that says so; it brings no fds. */
static void expect_error(struct bench *bench, struct wire *client, int code, const char *text) {
        struct wire_message reply = take(bench, client);
        const char *message = json_string_value(json_object_get(reply.body, "message"));

        assert_int_equal(json_integer_value(json_object_get(reply.body, "error")), code);
        assert_non_null(message);
        if (!strstr(message, text))
                fail_msg("\"%s\" does not say \"%s\"", message, text);
        assert_int_equal(json_object_size(reply.body), 2);
        assert_int_equal(reply.n_fds, 0);
        wire_message_deinit(&reply);
}

static void test_start_stop(void **state) {
        struct bench bench;

        make(&bench, NULL);
        struct wire *client = add(&bench, 7);
        assert_string_equal(bench.events, "busy, ");
        put(client, "{\"command\":\"start\",\"name\":\"web\",\"queues\":2}\n");
        struct wire_message reply = take(&bench, client);
        json_t *interface = json_object_get(reply.body, "interface");
        assert_int_equal(reply.n_fds, 2);
        assert_string_equal(json_string_value(json_object_get(interface, "port")), "port1");
        assert_int_equal(json_integer_value(json_object_get(interface, "vnet_header_size")), 12);
        put(client, "{\"command\":\"stop\",\"port\":\"port1\"}\n");
        struct wire_message stopped = take(&bench, client);
        assert_string_equal(json_string_value(json_object_get(stopped.body, "stopped")), "port1");
        put(client, "{\"command\":\"stop\",\"port\":\"port1\"}\n");
        expect_error(&bench, client, 4, "port1");
        wire_message_deinit(&stopped);
        wire_message_deinit(&reply);

        put(client, "{\"command\":\"network\"}\n");
        reply = take(&bench, client);
        json_t *network = json_object_get(reply.body, "network");
        assert_string_equal(json_string_value(json_object_get(network, "name")), "shared");
        assert_int_equal(json_integer_value(json_object_get(network, "lease")), 7);
        wire_message_deinit(&reply);
        wire_free(client);
        end(&bench);
}

static void test_errors(void **state) {
        static const struct {
                const char *request;
                int code;
                const char *text;
        } cases[] = {
                { "{\"command\":\"dance\"}", 4, "dance" },
                { "{\"command\":\"forward\",\"protocol\":\"tcp\",\"name\":\"web\",\"port\":22}", 4,
                  "file descriptor" },
                { "{\"command\":\"unforward\",\"forward\":1}", 4, "forward" },
                { "{\"command\":7}", 4, "command" },
                { "{}", 4, "command" },
                { "[]", 4, "" },
                { "nonsense", 4, "" },
                { "{\"command\":\"network\",\"x\":1}", 4, "x" },
                { "{\"command\":\"stop\"}", 4, "port" },
                { "{\"command\":\"stop\",\"port\":1}", 4, "port" },
                { "{\"command\":\"stop\",\"port\":\"br0\"}", 4, "br0" },
                { "{\"command\":\"start\",\"queues\":0}", 4, "queues" },
                { "{\"command\":\"start\",\"queues\":9}", 4, "queues" },
                { "{\"command\":\"start\",\"mtu\":67}", 4, "mtu" },
                { "{\"command\":\"start\",\"isolated\":1}", 4, "isolated" },
                { "{\"command\":\"start\",\"name\":\"a.b\"}", 4, "a.b" },
                { "{\"command\":\"start\",\"surprise\":1}", 4, "surprise" },
        };
        struct bench bench;

        make(&bench, "{\"max_interfaces_per_user\":1}");
        struct wire *client = add(&bench, 7);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                put(client, cases[i].request);
                put(client, "\n");
                expect_error(&bench, client, cases[i].code, cases[i].text);
        }
        put(client, "{\"command\":\"start\"}\n{\"command\":\"start\"}\n");
        struct wire_message reply = take(&bench, client);
        assert_int_equal(reply.n_fds, 1);
        expect_error(&bench, client, 3, "limit");
        assert_int_equal(system("nft delete table bridge berth"), 0);
        wire_message_deinit(&reply);
        ports_look(bench.world.ports);
        put(client, "{\"command\":\"start\"}\n");
        expect_error(&bench, client, 6, "nftables");
        wire_free(client);
        end(&bench);
}

/* A reply says what was asked, but only as much of it as a line can hold. */
static void test_long_command(void **state) {
        struct bench bench;

        make(&bench, NULL);
        struct wire *client = add(&bench, 7);
        _cleanup_free_ char *line = malloc(65001);
        memset(line, 'x', 65000);
        line[65000] = 0;
        put(client, "{\"command\":\"");
        for (size_t sent = 0; sent < 65000;) {
                ssize_t n = send(wire_fd(client), line + sent, 65000 - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
                assert_true(n > 0);
                sent += (size_t)n;
        }
        put(client, "\"}\n");
        expect_error(&bench, client, 4, "xxx");
        put(client, "{\"command\":\"network\"}\n");
        struct wire_message reply = take(&bench, client);
        assert_non_null(json_object_get(reply.body, "network"));
        wire_message_deinit(&reply);
        wire_free(client);
        end(&bench);
}

static void test_fds_with_a_request(void **state) {
        struct bench bench;

        make(&bench, NULL);
        struct wire *client = add(&bench, 7);
        _cleanup_fd_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        json_t *body = json_pack("{ss}", "command", "network");
        size_t before = fd_count_open();
        assert_int_equal(wire_send(client, body, (int[]){ null, null, null }, 3), 0);
        expect_error(&bench, client, 4, "file descriptors");
        assert_int_equal(fd_count_open(), before);
        json_decref(body);
        wire_free(client);
        end(&bench);
}

static int send_line(struct wire *client, const char *text, int fd, size_t n_fds) {
        json_t *body = json_loads(text, 0, NULL);
        int r = wire_send(client, body, (int[]){ fd, fd }, n_fds);

        json_decref(body);
        return r;
}

/* Who passes sockets that are slow to close is alone with that: refused, with the lease, and in the queue of a handle
 * whose lease ends. */
static void test_stubborn_sockets(void **state) {
        static const char forward[] = "{\"command\":\"forward\",\"protocol\":\"tcp\",\"name\":\"web\",\"port\":22}";
        struct bench bench;
        int others[4];

        make(&bench, NULL);
        struct wire *client = add(&bench, 7), *second = add(&bench, 8);
        for (size_t i = 0; i < 3; i++) {
                static const char *const refusals[] = { "no listening TCP socket", "file descriptors", "more" };
                int fd = harness_make_stubborn_socket(&others[i]);

                assert_int_equal(send_line(client, i == 1 ? "{\"command\":\"network\"}" : forward, fd, i == 2 ? 2 : 1), 0);
                fd_close(fd);
                expect_error(&bench, client, 4, refusals[i]);
        }
        int fd = harness_make_stubborn_socket(&others[3]);
        assert_int_equal(send_line(client, forward, fd, 1), 0);
        fd_close(fd);
        leases_end(bench.leases, 7);
        put(second, "{\"command\":\"network\"}\n");
        struct wire_message reply = take(&bench, second);
        assert_non_null(json_object_get(reply.body, "network"));
        wire_message_deinit(&reply);
        wire_free(client);
        wire_free(second);
        for (size_t i = 0; i < 4; i++)
                fd_close(others[i]);
        end(&bench);
}

/* It cannot be known where such a line ends: an answer, and the end of the handle. */
static void test_endless_line(void **state) {
        struct bench bench;
        char line[4096];

        make(&bench, NULL);
        struct wire *client = add(&bench, 7);
        memset(line, ' ', sizeof(line));
        bench.events[0] = 0;
        for (int i = 0; i < 17; i++)
                if (send(wire_fd(client), line, sizeof(line), MSG_NOSIGNAL) < 0)
                        run(&bench, client);
        expect_error(&bench, client, 4, "");
        if (!strstr(bench.events, "ended"))
                run(&bench, NULL);
        assert_non_null(strstr(bench.events, "ended 7"));
        assert_int_equal(leases_count(bench.leases), 0);
        wire_free(client);
        end(&bench);
}

static void test_last_handle(void **state) {
        struct bench bench;

        make(&bench, NULL);
        struct wire *first = add(&bench, 7), *second = add(&bench, 7), *other = add(&bench, 8);
        assert_int_equal(leases_count(bench.leases), 2);
        put(first, "{\"command\":\"start\"}\n");
        struct wire_message reply = take(&bench, first);
        wire_free(first);
        put(second, "{\"command\":\"network\"}\n"); /* answered: so the end of the first has been seen */
        struct wire_message network = take(&bench, second);
        wire_message_deinit(&network);
        assert_int_equal(ports_count(bench.world.ports), 1);

        bench.events[0] = 0;
        wire_free(second);
        run(&bench, NULL);
        assert_string_equal(bench.events, "ended 7, ");
        assert_int_equal(ports_count(bench.world.ports), 0);
        assert_int_equal(links_find(bench.world.links, "port1"), -ENODEV);
        wire_message_deinit(&reply);

        bench.events[0] = 0;
        wire_free(other);
        run(&bench, NULL);
        assert_non_null(strstr(bench.events, "idle, "));
        assert_int_equal(leases_count(bench.leases), 0);
        end(&bench);
}

/* The broker ends a lease: the client sees the end of its handle, and nobody is told. */
static void test_ended_by_the_broker(void **state) {
        struct bench bench;
        struct wire_message message = WIRE_MESSAGE_INIT;

        make(&bench, NULL);
        struct wire *client = add(&bench, 7);
        put(client, "{\"command\":\"start\"}\n");
        struct wire_message reply = take(&bench, client);
        bench.events[0] = 0;
        leases_end(bench.leases, 9);
        leases_end(bench.leases, 7);
        assert_string_equal(bench.events, "idle, ");
        assert_int_equal(ports_count(bench.world.ports), 0);
        assert_int_equal(wire_receive(client, &message, NULL), WIRE_END);
        wire_message_deinit(&reply);
        wire_free(client);
        end(&bench);
}

/* One that asks and never reads is not served for ever, and others are. */
static void test_no_reader(void **state) {
        struct bench bench;
        const char *request = "{\"command\":\"network\"}\n";

        make(&bench, NULL);
        struct wire *greedy = add(&bench, 7), *other = add(&bench, 8);
        size_t sent = 0;
        while (send(wire_fd(greedy), request, strlen(request), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
                sent++;
        assert_true(sent > 100);
        for (int i = 0; i < 3; i++) {
                put(other, request);
                struct wire_message reply = take(&bench, other);
                wire_message_deinit(&reply);
        }
        /* Once it reads, each is answered. */
        for (size_t i = 0; i < sent; i++) {
                struct wire_message reply = take(&bench, greedy);
                assert_non_null(json_object_get(reply.body, "network"));
                wire_message_deinit(&reply);
        }
        wire_free(greedy);
        wire_free(other);
        end(&bench);
}

struct telling {
        uint64_t sum;
        int room; /* how many more are taken */
};

static bool count_handle(uint64_t lease, uint32_t uid, uint32_t pid, const char *program, int socket,
                         void *data) {
        struct telling *telling = data;

        assert_int_equal(uid, 1000);
        assert_int_equal(pid, 4711);
        assert_string_equal(program, "test");
        assert_true(fcntl(socket, F_GETFD) >= 0);
        telling->sum += lease;
        return --telling->room > 0;
}

/* A broker that takes little at a time is told of each handle once, and one that gave a handle knows it. */
static void test_telling(void **state) {
        struct bench bench;
        struct telling telling = { .room = 2 };

        make(&bench, NULL);
        struct wire *clients[] = { add(&bench, 1), add(&bench, 10), add(&bench, 10) };
        assert_true(leases_tell(bench.leases, count_handle, &telling));
        assert_int_equal(telling.sum, 0);

        leases_forget_broker(bench.leases);
        assert_false(leases_tell(bench.leases, count_handle, &telling));
        telling.room = 100;
        assert_true(leases_tell(bench.leases, count_handle, &telling));
        assert_int_equal(telling.sum, 21);
        assert_true(leases_tell(bench.leases, count_handle, &telling));
        assert_int_equal(telling.sum, 21);
        for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
                wire_free(clients[i]);
        end(&bench);
}

HARNESS_MAIN(cmocka_unit_test(test_start_stop), cmocka_unit_test(test_errors),
             cmocka_unit_test(test_long_command), cmocka_unit_test(test_fds_with_a_request),
             cmocka_unit_test(test_stubborn_sockets),
             cmocka_unit_test(test_endless_line), cmocka_unit_test(test_last_handle),
             cmocka_unit_test(test_ended_by_the_broker), cmocka_unit_test(test_no_reader),
             cmocka_unit_test(test_telling))
