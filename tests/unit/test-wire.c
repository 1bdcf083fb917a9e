/* wire/wire: lines, and what is none. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/memory.h"
#include "pair.h"

static void test_lines(void **state) {
        struct pair *pair = *state;

        pair_expect_result(pair, WIRE_AGAIN);
        pair_put(pair, "{\"a\":1}\n{\"b\":1}\n{\"c\"", 0);
        assert_false(wire_has_input(pair->wire));
        pair_expect(pair, "a", 0);
        assert_true(wire_has_input(pair->wire));
        pair_expect(pair, "b", 0);
        assert_false(wire_has_input(pair->wire));
        pair_expect_result(pair, WIRE_AGAIN);
        pair_put(pair, ":1", 0);
        pair_expect_result(pair, WIRE_AGAIN);
        pair_put(pair, "}\n", 0);
        pair_expect(pair, "c", 0);
        pair_expect_result(pair, WIRE_AGAIN);
}

static void test_byte_by_byte(void **state) {
        static const char text[] = " {\"a\" : \"\\n\xc3\xa9\"} \n{\"b\":1}\n";
        struct pair *pair = *state;

        for (const char *c = text; *c; c++) {
                pair_put_bytes(pair, c, 1, 0);
                if (*c != '\n')
                        pair_expect_result(pair, WIRE_AGAIN);
                else
                        pair_expect(pair, c[1] ? "a" : "b", 0);
        }
}

static void test_end(void **state) {
        struct pair *pair = *state;

        pair_put(pair, "{\"a\":1}\n{\"half", 1);
        pair->peer = fd_close(pair->peer);
        pair_expect(pair, "a", 0); /* the descriptor is the half line's */
        pair_expect_result(pair, WIRE_END);
        pair_expect_result(pair, WIRE_END);
}

static void test_malformed_lines(void **state) {
        static const char *const lines[] = {
                "",
                " ",
                "[]",
                "7",
                "null",
                "\"x\"",
                "{",
                "{}{}",
                "{} x",
                "{'a':1}",
                "{\"a\":1,\"a\":2}",
                "{\"a\":\"\\u0000\"}",
                "{\"a\\u0000b\":1}",
                "{\"a\":\"\xff\"}",
                "{\"a\":\"\xed\xa0\x80\"}",
                "{\"a\":\"\\ud800\"}",
                "{\"a\":99999999999999999999}",
                "{\"a\":1e999}",
                "{\"a\":NaN}",
                "{\"a\":1,}",
                "\xef\xbb\xbf{}",
        };
        struct pair *pair = *state;
        char nested[10000];

        for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
                pair_put(pair, lines[i], 0);
                pair_put(pair, "\n", 0);
                assert_string_not_equal(pair_expect_result(pair, WIRE_MALFORMED), "");
        }
        /* A NUL as it is, and nesting to exhaust a stack. */
        pair_put_bytes(pair, "{\"a\":1}\0\n", 9, 0);
        pair_expect_result(pair, WIRE_MALFORMED);
        pair_put_bytes(pair, "{\"a\":\"\0\"}\n", 10, 0);
        pair_expect_result(pair, WIRE_MALFORMED);
        memset(nested, '[', sizeof(nested));
        pair_put(pair, "{\"a\":", 0);
        for (int i = 0; i < 6; i++) {
                pair_put_bytes(pair, nested, sizeof(nested), 0);
                pair_expect_result(pair, WIRE_AGAIN);
        }
        pair_put(pair, "\n", 0);
        pair_expect_result(pair, WIRE_MALFORMED);
        pair_put(pair, "{\"fine\":1}\n", 0);
        pair_expect(pair, "fine", 0);
}

/* A line of `size` bytes with its newline, in pieces, since the socket holds less. */
static int receive_line_of(struct pair *pair, size_t size) {
        _cleanup_free_ char *line = malloc(size);
        _cleanup_(wire_message_deinit) struct wire_message message = WIRE_MESSAGE_INIT;
        int r = WIRE_AGAIN;

        memset(line, 'x', size);
        memcpy(line, "{\"a\":\"", 6);
        memcpy(line + size - 3, "\"}\n", 3);
        for (size_t sent = 0; sent < size && r == WIRE_AGAIN;) {
                size_t n = size - sent < 10000 ? size - sent : 10000;

                pair_put_bytes(pair, line + sent, n, 0);
                sent += n;
                r = wire_receive(pair->wire, &message, NULL);
        }
        return r;
}

static void test_line_limit(void **state) {
        struct pair *pair = *state;
        size_t before = fd_count_open();

        assert_int_equal(receive_line_of(pair, WIRE_LINE_MAX), WIRE_MESSAGE);
        pair_expect_result(pair, WIRE_AGAIN);
        assert_int_equal(receive_line_of(pair, WIRE_LINE_MAX + 1), WIRE_TOO_LONG);
        /* There is no way back. */
        pair_put(pair, "\n{\"a\":1}\n", 3);
        assert_string_not_equal(pair_expect_result(pair, WIRE_TOO_LONG), "");
        assert_false(wire_has_input(pair->wire));
        assert_int_equal(fd_count_open(), before);
}

/* A megabyte with no newline in it: refused at the limit, and no more than that is held. */
static void test_no_newline(void **state) {
        struct pair *pair = *state;
        char data[8192];
        size_t sent = 0;
        int r;

        memset(data, 'x', sizeof(data));
        pair_put(pair, "{\"before\":1}\n", 0);
        pair_put_bytes(pair, data, sizeof(data), 0);
        pair_expect(pair, "before", 0);
        for (sent = sizeof(data); sent < 1024 * 1024; sent += sizeof(data)) {
                pair_put_bytes(pair, data, sizeof(data), 0);
                r = wire_receive(pair->wire, &WIRE_MESSAGE_INIT, NULL);
                if (r != WIRE_AGAIN)
                        break;
        }
        assert_int_equal(r, WIRE_TOO_LONG);
        assert_true(sent <= WIRE_LINE_MAX);
}

static void test_new_consumes(void **state) {
        size_t before = fd_count_open();
        _cleanup_(wire_freep) struct wire *wire = NULL;

        assert_int_equal(wire_new(&wire, -1), -EBADF);
        assert_null(wire);
        assert_int_equal(wire_new(&wire, open("/dev/null", O_RDWR | O_CLOEXEC)), 0);
        assert_true(fcntl(wire_fd(wire), F_GETFL) & O_NONBLOCK);
        assert_int_equal(fd_count_open(), before + 1);
}

HARNESS_MAIN(PAIR_TEST(test_lines), PAIR_TEST(test_byte_by_byte), PAIR_TEST(test_end),
             PAIR_TEST(test_malformed_lines), PAIR_TEST(test_line_limit), PAIR_TEST(test_no_newline),
             cmocka_unit_test(test_new_consumes))
