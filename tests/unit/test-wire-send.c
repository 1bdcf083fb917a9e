/* wire/wire: sending, to peers that read late, or never. */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "pair.h"

static void test_send(void **state) {
        struct pair *pair = *state;
        json_t *body = json_pack("{s:s, s:i}", "command", "x\n\xc3\xa9", "n", 7);
        char line[100];
        ssize_t n;

        assert_int_equal(wire_send(pair->wire, body, NULL, 0), 0);
        assert_false(wire_has_output(pair->wire));
        n = read(pair->peer, line, sizeof(line) - 1);
        line[n > 0 ? n : 0] = '\0';
        assert_string_equal(line, "{\"command\":\"x\\n\xc3\xa9\",\"n\":7}\n");
        json_decref(body);
}

static void test_send_refused(void **state) {
        struct pair *pair = *state;
        json_t *fits = pair_make_body(WIRE_LINE_MAX - 9), *exceeds = pair_make_body(WIRE_LINE_MAX - 8),
               *array = json_array();
        int fds[WIRE_FDS_MAX + 1];

        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                fds[i] = pair->peer;
        assert_int_equal(wire_send(pair->wire, exceeds, NULL, 0), -EMSGSIZE);
        assert_int_equal(wire_send(pair->wire, array, NULL, 0), -EINVAL);
        assert_int_equal(wire_send(pair->wire, fits, fds, WIRE_FDS_MAX + 1), -EINVAL);
        /* None of these harms the connection. */
        assert_int_equal(wire_send(pair->wire, fits, NULL, 0), 0);
        json_decref(fits);
        json_decref(exceeds);
        json_decref(array);
}

static void test_send_to_closed(void **state) {
        struct pair *pair = *state;
        json_t *body = pair_make_body(1);

        pair->peer = fd_close(pair->peer);
        assert_int_equal(wire_send(pair->wire, body, NULL, 0), -EPIPE);
        assert_int_equal(wire_send(pair->wire, body, NULL, 0), -EPIPE);
        assert_int_equal(wire_flush(pair->wire), -EPIPE);
        json_decref(body);
}

/* The nth message of a sequence: every third has descriptors, and every fifth is so long that the socket may
 * take a part of it. */
static void send_numbered(struct pair *pair, int n) {
        int fds[] = { pair->peer, pair->peer, pair->peer };
        json_t *body = pair_make_body(n % 5 == 0 ? 60000 : 3000);

        json_object_set_new(body, "n", json_integer(n));
        assert_int_equal(wire_send(pair->wire, body, fds, n % 3 == 0 ? 3 : 0), 0);
        json_decref(body);
}

/* 1 when the message came, which must be the nth; 0 when there is none. */
static int receive_numbered(struct wire *reader, int n) {
        _cleanup_(wire_message_deinit) struct wire_message message = WIRE_MESSAGE_INIT;
        int r = wire_receive(reader, &message, NULL);

        if (r == WIRE_AGAIN)
                return 0;
        assert_int_equal(r, WIRE_MESSAGE);
        assert_int_equal(json_integer_value(json_object_get(message.body, "n")), n);
        assert_int_equal(message.n_fds, n % 3 == 0 ? 3 : 0);
        return 1;
}

/* A peer that reads late: all arrives, in order, each line's descriptors with it; until then copies are held.
 */
static void test_back_pressure(void **state) {
        struct pair *pair = *state;
        _cleanup_(wire_freep) struct wire *reader = NULL;
        size_t before = fd_count_open();
        int n = 0, received = 0;

        /* Until the socket is full, and 20 more. */
        for (int beyond = 0; beyond < 20; n++) {
                send_numbered(pair, n);
                beyond += wire_has_output(pair->wire);
        }
        assert_true(fd_count_open() >= before + 15);
        assert_int_equal(wire_flush(pair->wire), 0);
        assert_true(wire_has_output(pair->wire));

        /* What is sent while there is room again, and lines still wait, keeps its place. */
        assert_int_equal(wire_new(&reader, fd_dup(pair->peer)), 0);
        while (received < 8)
                received += receive_numbered(reader, received);
        send_numbered(pair, n++);
        send_numbered(pair, n++);
        while (received < n) {
                received += receive_numbered(reader, received);
                assert_int_equal(wire_flush(pair->wire), 0);
        }
        assert_false(wire_has_output(pair->wire));
        assert_int_equal(fd_count_open(), before + 1);
}

static void test_queue_limit(void **state) {
        struct pair *pair = *state;
        json_t *body = pair_make_body(10000);
        char drained[65536];
        size_t queued = 0;
        int r;

        while ((r = wire_send(pair->wire, body, NULL, 0)) == 0)
                queued += wire_has_output(pair->wire) ? 10000 : 0;
        assert_int_equal(r, -ENOBUFS);
        assert_in_range(queued, WIRE_QUEUE_MAX / 2, WIRE_QUEUE_MAX + 10000);
        /* A line is missing: the connection stays refused, though the peer reads after all. */
        while (recv(pair->peer, drained, sizeof(drained), MSG_DONTWAIT) > 0)
                ;
        assert_int_equal(wire_send(pair->wire, body, NULL, 0), -ENOBUFS);
        json_decref(body);
}

/* Descriptors that wait are bounded too, however short their lines are. */
static void test_queue_limit_for_fds(void **state) {
        struct pair *pair = *state;
        json_t *body = pair_make_body(1);
        size_t before = fd_count_open();
        int fds[WIRE_FDS_MAX], r;

        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                fds[i] = pair->peer;
        while (!wire_has_output(pair->wire))
                assert_int_equal(wire_send(pair->wire, body, NULL, 0), 0);
        while ((r = wire_send(pair->wire, body, fds, WIRE_FDS_MAX)) == 0)
                ;
        assert_int_equal(r, -ENOBUFS);
        assert_in_range(fd_count_open() - before, 100, 256);
        pair->wire = wire_free(pair->wire);
        assert_int_equal(fd_count_open(), before - 1);
        json_decref(body);
}

HARNESS_MAIN(PAIR_TEST(test_send), PAIR_TEST(test_send_refused), PAIR_TEST(test_send_to_closed),
             PAIR_TEST(test_back_pressure), PAIR_TEST(test_queue_limit), PAIR_TEST(test_queue_limit_for_fds))
