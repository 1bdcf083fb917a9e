/* network/control: brokers that come and go */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "harness.h"
#include "network/control.h"

struct bench {
        char *directory, *path;
        struct loop *loop;
        struct control *control;
        char events[200];
        int result; /* of the message handler */
};

static void note(struct bench *bench, const char *text) {
        strncat(bench->events, text, sizeof(bench->events) - strlen(bench->events) - 1);
        loop_exit(bench->loop, 0);
}

/* As a network does: all that it has, with file descriptors. */
static void on_arrived(void *data) {
        struct bench *bench = data;
        _cleanup_fd_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

        control_send(bench->control, json_pack("{ss}", "command", "ready"), (int[]){ null, null }, 2);
        control_send(bench->control, json_pack("{ss}", "command", "lease"), &null, 1);
        control_send(bench->control, json_pack("{ss}", "command", "synced"), NULL, 0);
        note(bench, "arrived, ");
}

static void on_drained(void *data) {
}

static int on_message(void *data, struct wire_message *message) {
        struct bench *bench = data;

        note(bench, json_string_value(json_object_get(message->body, "command")));
        note(bench, ", ");
        return bench->result;
}

static void make(struct bench *bench) {
        struct error error = ERROR_INIT;

        signal(SIGPIPE, SIG_IGN);
        *bench = (struct bench){ .directory = harness_make_directory() };
        bench->path = text_format("%s/control.sock", bench->directory);
        assert_int_equal(loop_new(&bench->loop), 0);
        const struct control_context context = { bench->loop, bench->path, on_arrived,
                                                 on_message,  on_drained,  bench };
        assert_int_equal(control_new(&bench->control, &context, &error), 0);
}

static void end(struct bench *bench) {
        control_free(bench->control);
        loop_free(bench->loop);
        free(bench->path);
        harness_remove_directory(bench->directory);
}

static int on_readable(struct source *source, int fd, uint32_t events, void *data) {
        loop_exit(data, 0);
        return 0;
}

static int on_time(struct source *source, void *data) {
        loop_exit(data, -ETIMEDOUT);
        return 0;
}

/* Until an event, or until the fd can be read. */
static void run(struct bench *bench, int fd) {
        struct source *source = NULL, *timer;

        assert_int_equal(loop_add_timer(bench->loop, &timer, on_time, bench->loop), 0);
        source_arm(timer, 60000000);
        if (fd >= 0)
                assert_int_equal(loop_add_fd(bench->loop, &source, fd, EPOLLIN, on_readable, bench->loop), 0);
        assert_int_equal(loop_run(bench->loop), 0);
        source_free(source);
        source_free(timer);
}

static struct wire *arrive(struct bench *bench) {
        struct wire *wire = NULL;
        int fd = fd_connect_unix(bench->path);

        assert_true(fd >= 0);
        assert_int_equal(wire_new(&wire, fd), 0);
        return wire;
}

static void expect(struct wire *broker, const char *command, size_t n_fds) {
        struct wire_message message = WIRE_MESSAGE_INIT;

        assert_int_equal(wire_receive(broker, &message, NULL), WIRE_MESSAGE);
        assert_string_equal(json_string_value(json_object_get(message.body, "command")), command);
        assert_int_equal(message.n_fds, n_fds);
        wire_message_deinit(&message);
}

static void expect_all(struct wire *broker) {
        expect(broker, "ready", 2);
        expect(broker, "lease", 1);
        expect(broker, "synced", 0);
}

static void expect_closed(struct wire *broker) {
        struct wire_message message = WIRE_MESSAGE_INIT;
        int r = wire_receive(broker, &message, NULL);

        assert_true(r == WIRE_END || r == -ECONNRESET);
}

static void test_take_over(void **state) {
        struct bench bench;

        make(&bench);
        assert_false(control_connected(bench.control));
        control_send(bench.control, json_pack("{ss}", "command", "nobody hears this"), NULL, 0);

        struct wire *first = arrive(&bench);
        run(&bench, -1);
        expect_all(first);
        assert_true(control_connected(bench.control));
        assert_int_equal(send(wire_fd(first), "{\"command\":\"one\"}\n{\"command\":\"two\"}\n", 36, 0), 36);
        run(&bench, -1);
        assert_string_equal(bench.events, "arrived, one, two, ");

        struct wire *second = arrive(&bench);
        bench.events[0] = 0;
        run(&bench, -1);
        expect_all(second);
        expect_closed(first);
        control_send(bench.control, json_pack("{ss}", "command", "news"), NULL, 0);
        expect(second, "news", 0);
        wire_free(first);
        wire_free(second);
        end(&bench);
}

/* A broker that goes, says nonsense, or is sent away by the handler, is dropped; the next one is welcome. */
static void test_dropped(void **state) {
        static const char *const last_words[] = { "", "nonsense\n", "{\"command\":\"bad\"}\n" };
        struct bench bench;

        make(&bench);
        bench.result = -EPROTO;
        for (size_t i = 0; i < ARRAY_SIZE(last_words); i++) {
                struct wire *broker = arrive(&bench);
                run(&bench, -1);
                expect_all(broker);
                assert_int_equal(send(wire_fd(broker), last_words[i], strlen(last_words[i]), 0),
                                 strlen(last_words[i]));
                if (!*last_words[i])
                        assert_int_equal(shutdown(wire_fd(broker), SHUT_WR), 0);
                struct wire_message message = WIRE_MESSAGE_INIT;
                int r;
                while ((r = wire_receive(broker, &message, NULL)) == WIRE_AGAIN)
                        run(&bench, wire_fd(broker));
                assert_true(r == WIRE_END || r == -ECONNRESET);
                assert_false(control_connected(bench.control));
                wire_free(broker);
        }
        end(&bench);
}

/* A broker that does not read holds nothing up, and is dropped when too much waits for it. */
static void test_no_reader(void **state) {
        struct bench bench;
        char text[10000];

        make(&bench);
        struct wire *broker = arrive(&bench);
        run(&bench, -1);
        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = 0;
        for (int i = 0; i < 500 && control_connected(bench.control); i++)
                control_send(bench.control, json_pack("{ss}", "command", text), NULL, 0);
        assert_false(control_connected(bench.control));
        wire_free(broker);
        end(&bench);
}

/* What waited is sent once it reads. */
static void test_slow_reader(void **state) {
        struct bench bench;
        char text[10000];

        make(&bench);
        struct wire *broker = arrive(&bench);
        run(&bench, -1);
        expect_all(broker);
        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = 0;
        for (int i = 0; i < 60; i++)
                control_send(bench.control, json_pack("{ss}", "command", text), NULL, 0);
        for (int i = 0; i < 60; i++) {
                struct wire_message message = WIRE_MESSAGE_INIT;
                int r;
                while ((r = wire_receive(broker, &message, NULL)) == WIRE_AGAIN)
                        run(&bench, wire_fd(broker));
                assert_int_equal(r, WIRE_MESSAGE);
                wire_message_deinit(&message);
        }
        wire_free(broker);
        end(&bench);
}

/* What does not fit into a line is not said, and the broker stays. */
static void test_too_long(void **state) {
        struct bench bench;
        static char text[WIRE_LINE_MAX + 1];

        make(&bench);
        struct wire *broker = arrive(&bench);
        run(&bench, -1);
        expect_all(broker);
        memset(text, 'x', sizeof(text) - 1);
        control_send(bench.control, json_pack("{ss}", "command", text), NULL, 0);
        assert_true(control_connected(bench.control));
        control_send(bench.control, json_pack("{ss}", "command", "news"), NULL, 0);
        expect(broker, "news", 0);
        wire_free(broker);
        end(&bench);
}

static void test_another_user(void **state) {
        struct bench bench;
        int status;

        if (geteuid() != 0)
                skip();
        make(&bench);
        struct wire *broker = arrive(&bench);
        run(&bench, -1);
        expect_all(broker);
        assert_int_equal(chmod(bench.directory, 0777), 0);
        assert_int_equal(chmod(bench.path, 0777), 0);
        int pair[2];
        assert_int_equal(fd_socketpair(pair, false), 0);
        pid_t pid = fork();
        if (pid == 0) {
                char byte;

                fd_close(pair[0]);
                if (setuid(65534) < 0)
                        _exit(2);
                int fd = fd_connect_unix(bench.path);
                if (fd < 0 || write(pair[1], "x", 1) != 1)
                        _exit(3);
                _exit(read(fd, &byte, 1) == 0 ? 0 : 1);
        }
        char byte;
        fd_close(pair[1]);
        assert_int_equal(read(pair[0], &byte, 1), 1); /* it is in the queue */
        _cleanup_fd_ int pidfd = process_open(pid);
        run(&bench, pidfd);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_string_equal(bench.events, "arrived, ");
        assert_true(control_connected(bench.control));
        fd_close(pair[0]);
        wire_free(broker);
        end(&bench);
}

static void test_stale_socket(void **state) {
        struct bench bench;
        struct control *successor;
        struct stat st;

        make(&bench);
        const struct control_context context = { bench.loop, bench.path, on_arrived,
                                                 on_message, on_drained, &bench };
        assert_int_equal(control_new(&successor, &context, NULL), 0);
        control_free(successor);
        assert_int_equal(stat(bench.path, &st), -1);
        end(&bench);
}

HARNESS_MAIN(cmocka_unit_test(test_take_over), cmocka_unit_test(test_dropped),
             cmocka_unit_test(test_no_reader), cmocka_unit_test(test_slow_reader),
             cmocka_unit_test(test_too_long), cmocka_unit_test(test_another_user),
             cmocka_unit_test(test_stale_socket))
