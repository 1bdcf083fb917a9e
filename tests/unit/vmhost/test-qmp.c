/* The QMP client against a QEMU of our own making, on the other end of a socket pair. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "harness.h"
#include "vmhost/qmp.h"

#define GREETING "{\"QMP\":{\"version\":{},\"capabilities\":[\"oob\"]}}\r\n"
#define CAPABILITIES "{\"execute\":\"qmp_capabilities\",\"id\":0}\n"
#define LONG 60000000U /* microseconds: a deadline that no test reaches */

/* The client, what it told us, and the other end. */
struct stage {
        struct loop *loop;
        struct qmp *qmp;
        int peer;
        struct source *peer_source, *guard;
        size_t expected; /* bytes that the peer waits for */
        char heard[65536];
        size_t n_heard;
        unsigned n_ready, n_life, n_closed;
        int closed;
        char events[256];
        char replies[256]; /* "RESULT:VALUE " of each */
        unsigned n_replies, replies_awaited;
        bool free_in_reply, free_in_event;
};

static void on_ready(struct qmp *qmp, void *data) {
        struct stage *stage = data;

        stage->n_ready++;
        loop_exit(stage->loop, 0);
}

static void on_event(struct qmp *qmp, const char *event, json_t *details, void *data) {
        struct stage *stage = data;
        size_t n = strlen(stage->events);
        const char *text = json_string_value(json_object_get(details, "reason"));

        snprintf(stage->events + n, sizeof(stage->events) - n, "%s:%s ", event, text ? text : "");
        if (stage->free_in_event)
                stage->qmp = qmp_free(stage->qmp);
        loop_exit(stage->loop, 0);
}

static void on_life(struct qmp *qmp, void *data) {
        struct stage *stage = data;

        stage->n_life++;
}

static void on_closed(struct qmp *qmp, int reason, void *data) {
        struct stage *stage = data;

        stage->n_closed++;
        stage->closed = reason;
        loop_exit(stage->loop, 0);
}

static const struct qmp_handlers handlers = { on_ready, on_event, on_life, on_closed };

static void on_reply(struct qmp *qmp, int result, json_t *value, void *data) {
        struct stage *stage = data;
        size_t n = strlen(stage->replies);
        _cleanup_free_ char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

        snprintf(stage->replies + n, sizeof(stage->replies) - n, "%d:%s ", result, text ? text : "-");
        stage->n_replies++;
        if (stage->free_in_reply)
                qmp_free(steal_ptr(
                        stage->qmp)); /* which fails the calls that are left, and comes here again */
        if (stage->n_replies >= stage->replies_awaited)
                loop_exit(stage->loop, 0);
}

static int on_peer(struct source *source, int fd, uint32_t events, void *data) {
        struct stage *stage = data;
        ssize_t n = recv(fd, stage->heard + stage->n_heard, sizeof(stage->heard) - stage->n_heard - 1,
                         MSG_DONTWAIT);

        if (n > 0)
                stage->n_heard += (size_t)n;
        if (n == 0)
                source_set_events(source, 0);
        if (stage->n_heard >= stage->expected)
                loop_exit(stage->loop, 0);
        return 0;
}

/* What should have happened has not: the test fails by what it looks at next. */
static int on_guard(struct source *source, void *data) {
        struct stage *stage = data;

        loop_exit(stage->loop, -ETIME);
        return 0;
}

static void setup(struct stage *stage) {
        int fds[2];

        *stage = (struct stage){ .replies_awaited = 1 };
        assert_int_equal(fd_socketpair(fds, false), 0);
        assert_int_equal(loop_new(&stage->loop), 0);
        assert_int_equal(loop_add_timer(stage->loop, &stage->guard, on_guard, stage), 0);
        stage->peer = fds[1];
        assert_int_equal(qmp_new(&stage->qmp, stage->loop, fds[0], &handlers, stage), 0);
}

static void run(struct stage *stage) {
        source_arm(stage->guard, 60000000);
        assert_int_equal(loop_run(stage->loop), 0);
}

static void say(struct stage *stage, const char *text) {
        assert_int_equal(send(stage->peer, text, strlen(text), 0), strlen(text));
}

/* Until the peer has so many bytes; leaves them in `heard`. */
static const char *hear(struct stage *stage, size_t n) {
        stage->expected = n;
        stage->n_heard = 0;
        memset(stage->heard, 0, sizeof(stage->heard));
        assert_int_equal(loop_add_fd(stage->loop, &stage->peer_source, stage->peer, EPOLLIN, on_peer, stage),
                         0);
        run(stage);
        stage->peer_source = source_free(stage->peer_source);
        return stage->heard;
}

static void shake_hands(struct stage *stage) {
        say(stage, GREETING);
        assert_string_equal(hear(stage, strlen(CAPABILITIES)), CAPABILITIES);
        assert_int_equal(qmp_get_handshake(stage->qmp), QMP_NEGOTIATING);
        say(stage, "{\"return\":{},\"id\":0}\r\n");
        run(stage);
        assert_int_equal(stage->n_ready, 1);
        assert_int_equal(qmp_get_handshake(stage->qmp), QMP_READY);
}

static void teardown(struct stage *stage) {
        qmp_free(stage->qmp);
        source_free(stage->guard);
        loop_free(stage->loop);
        fd_close(stage->peer);
}

static int call(struct stage *stage, const char *command, uint64_t timeout) {
        return qmp_call(stage->qmp, command, NULL, timeout, on_reply, stage);
}

static void test_calls(void **state) {
        struct stage stage;

        setup(&stage);
        shake_hands(&stage);
        assert_int_equal(qmp_call(stage.qmp, "a", json_pack("{s:i}", "x", 1), LONG, on_reply, &stage), 0);
        assert_int_equal(call(&stage, "b", LONG), 0);
        assert_int_equal(call(&stage, "c", LONG), 0);
        static const char lines[] = "{\"execute\":\"a\",\"arguments\":{\"x\":1},\"id\":1}\n"
                                    "{\"execute\":\"b\",\"id\":2}\n{\"execute\":\"c\",\"id\":3}\n";
        assert_string_equal(hear(&stage, strlen(lines)), lines);

        /* Answers in any order, an event and answers to nobody among them. */
        stage.replies_awaited = 3;
        say(&stage, "{\"return\":{\"n\":2},\"id\":2}\r\n{\"return\":{},\"id\":77}\r\n{\"return\":{}}\r\n"
                    "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"},\"id\":3}\r\n{\"return\":[],"
                    "\"id\":1}\r\n");
        run(&stage);
        assert_string_equal(stage.replies,
                            "0:{\"n\":2} -121:{\"class\":\"GenericError\",\"desc\":\"no\"} 0:[] ");
        say(&stage, "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":true,\"reason\":\"guest-shutdown\"},"
                    "\"timestamp\":{}}\r\n");
        run(&stage);
        assert_string_equal(stage.events, "SHUTDOWN:guest-shutdown ");
        assert_int_equal(stage.n_life, 1 + 1 + 5 + 1);
        teardown(&stage);
}

/* What is called before the handshake is over waits for it, in its order. */
static void test_early_calls(void **state) {
        struct stage stage;

        setup(&stage);
        assert_int_equal(call(&stage, "a", LONG), 0);
        assert_int_equal(call(&stage, "b", LONG), 0);
        shake_hands(&stage);
        static const char lines[] = "{\"execute\":\"a\",\"id\":1}\n{\"execute\":\"b\",\"id\":2}\n";
        assert_string_equal(hear(&stage, strlen(lines)), lines);
        teardown(&stage);
        assert_string_equal(stage.replies, "-104:- -104:- ");
}

static void test_deadline(void **state) {
        struct stage stage;

        setup(&stage);
        assert_int_equal(call(&stage, "early", 1000), 0); /* a QEMU that never greets */
        run(&stage);
        assert_string_equal(stage.replies, "-110:- ");
        shake_hands(&stage);
        assert_int_equal(call(&stage, "slow", 1000), 0);
        run(&stage);
        assert_string_equal(stage.replies, "-110:- -110:- ");

        /* Late, it is a sign of life and nothing else. */
        unsigned life = stage.n_life;
        say(&stage, "{\"return\":{},\"id\":2}\r\n{\"event\":\"RESUME\"}\r\n");
        run(&stage);
        assert_string_equal(stage.replies, "-110:- -110:- ");
        assert_true(stage.n_life > life);
        assert_int_equal(stage.n_closed, 0);
        teardown(&stage);
}

static void test_disconnect(void **state) {
        struct stage stage;

        setup(&stage);
        shake_hands(&stage);
        stage.replies_awaited = 9;
        assert_int_equal(call(&stage, "a", LONG), 0);
        assert_int_equal(call(&stage, "b", LONG), 0);
        /* What came before the end is heard still. */
        say(&stage, "{\"event\":\"SHUTDOWN\",\"data\":{\"reason\":\"host-qmp-quit\"}}\n");
        stage.peer = fd_close(stage.peer);
        while (!stage.n_closed)
                run(&stage);
        assert_string_equal(stage.events, "SHUTDOWN:host-qmp-quit ");
        assert_string_equal(stage.replies, "-104:- -104:- ");
        assert_int_equal(stage.closed, -ECONNRESET);
        assert_int_equal(stage.n_closed, 1);
        assert_int_equal(call(&stage, "c", LONG), -ENOTCONN);
        teardown(&stage);
}

static void test_drain(void **state) {
        struct stage stage;

        setup(&stage);
        shake_hands(&stage);
        say(&stage, "{\"event\":\"A\"}\n{\"event\":\"B\"}\n");
        qmp_drain(stage.qmp);
        assert_string_equal(stage.events, "A: B: ");
        teardown(&stage);
}

static void test_nonsense(void **state) {
        static const char *const openings[] = { "hello\n", "[]\n", "{\"return\":{}}\n",
                                                "{\"event\":\"A\"}\n" };
        struct stage stage;

        for (size_t i = 0; i < ARRAY_SIZE(openings); i++) {
                setup(&stage);
                say(&stage, openings[i]);
                run(&stage);
                assert_int_equal(stage.closed, -EPROTO);
                teardown(&stage);
        }
        setup(&stage);
        shake_hands(&stage);
        say(&stage, "{\"return\":\n");
        run(&stage);
        assert_int_equal(stage.closed, -EPROTO);
        teardown(&stage);
}

/* A line beyond the limit ends the connection instead of the memory. */
static void test_long_line(void **state) {
        struct stage stage;
        char chunk[4096];
        size_t total = 0;

        setup(&stage);
        shake_hands(&stage);
        memset(chunk, ' ', sizeof(chunk));
        assert_int_equal(fd_set_nonblock(stage.peer, true), 0);
        while (!stage.n_closed) {
                ssize_t n = send(stage.peer, chunk, sizeof(chunk), MSG_NOSIGNAL);
                if (n > 0)
                        total += (size_t)n;
                qmp_drain(stage.qmp);
                assert_true(total < 4 * QMP_LINE_MAX);
        }
        assert_int_equal(stage.closed, -EPROTO);
        assert_true(total >= QMP_LINE_MAX);
        teardown(&stage);
}

static void test_byte_by_byte(void **state) {
        static const char text[] = GREETING
                "{\"return\":{},\"id\":0}\r\n{\"event\":\"A\",\"data\":{\"reason\":\"x\"}}\r\n";
        struct stage stage;

        setup(&stage);
        for (const char *c = text; *c; c++) {
                assert_int_equal(send(stage.peer, c, 1, 0), 1);
                qmp_drain(stage.qmp);
        }
        assert_int_equal(stage.n_ready, 1);
        assert_string_equal(stage.events, "A:x ");
        teardown(&stage);
}

/* One that reads nothing is not written to without end. */
static void test_deaf_peer(void **state) {
        struct stage stage;
        int r = 0;
        unsigned n = 0;

        setup(&stage);
        shake_hands(&stage);
        for (; r == 0 && n <= QMP_CALLS_MAX; n++)
                r = call(&stage, "a", LONG);
        assert_int_equal(r, -ENOBUFS);
        assert_int_equal(n, QMP_CALLS_MAX + 1);
        teardown(&stage);

        setup(&stage);
        shake_hands(&stage);
        for (n = 0, r = 0; r == 0; n++) {
                assert_true(n < 100000);
                stage.n_replies = 0;
                stage.replies[0] = '\0';
                r = qmp_call(
                        stage.qmp, "a",
                        json_pack("{s:s+}", "x", stage.heard, "0123456789012345678901234567890123456789"), 1,
                        on_reply, &stage);
                if (r == 0)
                        run(&stage); /* until its deadline */
        }
        assert_int_equal(r, -ENOBUFS);
        teardown(&stage);
}

static void test_free_within(void **state) {
        struct stage stage;

        /* In a reply, with another call pending and more input behind it. */
        setup(&stage);
        shake_hands(&stage);
        stage.free_in_reply = true;
        stage.replies_awaited = 2;
        assert_int_equal(call(&stage, "a", LONG), 0);
        assert_int_equal(call(&stage, "b", LONG), 0);
        say(&stage, "{\"return\":{},\"id\":1}\n{\"event\":\"A\"}\n{\"return\":{},\"id\":2}\n");
        run(&stage);
        assert_string_equal(stage.replies, "0:{} -104:- ");
        assert_string_equal(stage.events, "");
        assert_null(stage.qmp);
        teardown(&stage);

        /* In an event, and in the reply of a deadline. */
        setup(&stage);
        shake_hands(&stage);
        stage.free_in_event = true;
        say(&stage, "{\"event\":\"A\"}\n{\"event\":\"B\"}\n");
        run(&stage);
        assert_string_equal(stage.events, "A: ");
        teardown(&stage);
        setup(&stage);
        stage.free_in_reply = true;
        assert_int_equal(call(&stage, "a", 1), 0);
        run(&stage);
        assert_null(stage.qmp);
        teardown(&stage);
}

HARNESS_MAIN(cmocka_unit_test(test_calls), cmocka_unit_test(test_early_calls),
             cmocka_unit_test(test_deadline), cmocka_unit_test(test_disconnect), cmocka_unit_test(test_drain),
             cmocka_unit_test(test_nonsense), cmocka_unit_test(test_long_line),
             cmocka_unit_test(test_byte_by_byte), cmocka_unit_test(test_deaf_peer),
             cmocka_unit_test(test_free_within))
