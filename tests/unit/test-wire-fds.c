/* wire/wire: the file descriptors that come with lines. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/memory.h"
#include "pair.h"

static void test_fds(void **state) {
        struct pair *pair = *state;
        struct wire_message message = WIRE_MESSAGE_INIT;
        size_t before = fd_count_open();
        int taken;

        pair_put(pair, "{\"a\":1}\n", WIRE_FDS_MAX);
        assert_int_equal(wire_receive(pair->wire, &message, NULL), WIRE_MESSAGE);
        assert_int_equal(message.n_fds, WIRE_FDS_MAX);
        taken = wire_message_take_fd(&message, 3);
        assert_true(taken >= 0);
        assert_int_equal(wire_message_take_fd(&message, 3), -1);
        assert_int_equal(wire_message_take_fd(&message, WIRE_FDS_MAX), -1);
        wire_message_deinit(&message);
        wire_message_deinit(&message);
        assert_int_equal(fd_count_open(), before + 1);
        assert_int_equal(fcntl(taken, F_GETFD), FD_CLOEXEC);
        fd_close(taken);
}

/* Lines without descriptors, glued before and between those with them: each gets its own. */
static void test_fds_on_their_line(void **state) {
        struct pair *pair = *state;

        pair_put(pair, "{\"a\":1}\n", 0);
        pair_put(pair, "{\"b\":1}\n", 2);
        pair_put(pair, "{\"c\":1}\n", 3);
        pair_put(pair, "{\"d\":1}\n", 0);
        pair_put(pair, "{\"e\":1}\n", 1);
        pair_expect(pair, "a", 0);
        pair_expect(pair, "b", 2);
        pair_expect(pair, "c", 3);
        pair_expect(pair, "d", 0);
        pair_expect(pair, "e", 1);

        /* Half a line with descriptors is held, while its end comes glued to the next line, with others. */
        pair_put(pair, "{\"a\":", 2);
        pair_expect_result(pair, WIRE_AGAIN);
        pair_put(pair, "1}\n", 0);
        pair_put(pair, "{\"b\":1", 4);
        pair_expect(pair, "a", 2);
        pair_expect_result(pair, WIRE_AGAIN);
        pair_put(pair, "}\n{\"c\":1}\n", 0);
        pair_put(pair, "{\"d\":1}\n", 5);
        pair_expect(pair, "b", 4);
        pair_expect(pair, "c", 0);
        pair_expect(pair, "d", 5);
}

/* A line of the full length with descriptors is several pieces to the kernel. */
static void test_fds_with_long_line(void **state) {
        struct pair *pair = *state;
        _cleanup_(wire_freep) struct wire *sender = NULL;
        _cleanup_free_ char *text = malloc(WIRE_LINE_MAX);
        json_t *body = json_object();
        int fds[] = { pair->peer, pair->peer };
        struct wire_message message = WIRE_MESSAGE_INIT;
        int r;

        memset(text, 'x', 65500);
        text[65500] = '\0';
        json_object_set_new(body, "a", json_string(text));
        assert_int_equal(wire_new(&sender, fd_dup(pair->peer)), 0);
        assert_int_equal(wire_send(sender, body, NULL, 0), 0);
        assert_int_equal(wire_send(sender, body, fds, 2), 0);
        for (size_t expected = 0; expected <= 2; expected += 2) {
                while ((r = wire_receive(pair->wire, &message, NULL)) == WIRE_AGAIN)
                        assert_int_equal(wire_flush(sender), 0);
                assert_int_equal(r, WIRE_MESSAGE);
                assert_int_equal(message.n_fds, expected);
                wire_message_deinit(&message);
        }
        json_decref(body);
}

static void test_fds_too_many(void **state) {
        struct pair *pair = *state;
        size_t before = fd_count_open();

        pair_put(pair, "{\"before\":1}\n", 0);
        pair_put(pair, "{\"a\":1}\n", WIRE_FDS_MAX + 1);
        pair_put(pair, "{\"b\":1}\n", 253); /* all that the kernel lets through */
        pair_put(pair, "{\"c\":1}\n", 1);
        pair_expect(pair, "before", 0);
        assert_non_null(strstr(pair_expect_result(pair, WIRE_MALFORMED), "16 file descriptors"));
        pair_expect_result(pair, WIRE_MALFORMED);
        assert_int_equal(fd_count_open(), before);
        pair_expect(pair, "c", 1);
}

/* At the limit of this process the kernel drops what does not fit: no half set is handed out. */
static void test_fds_beyond_rlimit(void **state) {
        struct pair *pair = *state;
        size_t before = fd_count_open();
        struct rlimit saved, tight;
        int next = fd_dup(pair->peer);

        fd_close(next);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved), 0);
        pair_put(pair, "{\"a\":1}\n", 5);
        tight = (struct rlimit){ .rlim_cur = (rlim_t)next + 2, .rlim_max = saved.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
        pair_expect_result(pair, WIRE_MALFORMED);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved), 0);
        assert_int_equal(fd_count_open(), before);
}

/* One of ours is heard all the same, and what was given is no half set either. */
static void test_carrier_beyond_rlimit(void **state) {
        struct pair *pair = *state;
        _cleanup_(wire_message_deinit) struct wire_message message = WIRE_MESSAGE_INIT;
        size_t before = fd_count_open();
        struct rlimit saved, tight;
        int next = fd_dup(pair->peer);

        fd_close(next);
        wire_set_care(pair->wire, WIRE_CARRIER, WIRE_FDS_MAX);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved), 0);
        pair_put(pair, "{\"a\":1}\n", 5);
        pair_put(pair, "{\"b\":1}\n", 1);
        tight = (struct rlimit){ .rlim_cur = (rlim_t)next + 2, .rlim_max = saved.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
        assert_int_equal(wire_receive(pair->wire, &message, NULL), WIRE_MESSAGE);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved), 0);
        assert_true(message.lost);
        assert_int_equal(message.n_fds, 0);
        assert_int_equal(fd_count_open(), before);
        pair_expect(pair, "b", 1);
}

static void test_fds_out_of_place(void **state) {
        struct pair *pair = *state;
        size_t before = fd_count_open();

        pair_put(pair, "{\"a\":", 2);
        pair_expect_result(pair, WIRE_AGAIN);
        pair_put(pair, "1}\n", 1);
        assert_non_null(strstr(pair_expect_result(pair, WIRE_TOO_LONG), "middle"));
        assert_int_equal(fd_count_open(), before);
}

/* Descriptors that nobody fetched go with the wire. */
static void test_free_closes_fds(void **state) {
        struct pair *pair = *state;
        size_t before = fd_count_open();

        pair_put(pair, "{\"a\":", 4);
        pair_expect_result(pair, WIRE_AGAIN);
        assert_int_equal(fd_count_open(), before + 4);
        pair->wire = wire_free(pair->wire);
        assert_int_equal(fd_count_open(), before - 1);
}

/* A stranger's sockets are let in, as many as are wanted, and nothing else of his. */
static void test_stranger(void **state) {
        static const size_t too_many[] = { 2, WIRE_FDS_MAX + 1, 253 };
        struct pair *pair = *state;
        size_t before = fd_count_open();
        _cleanup_fd_ int inet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        _cleanup_fd_ int other = fd_dup(pair->peer);

        wire_set_care(pair->wire, WIRE_STRANGER, 1);
        pair_put(pair, "{\"a\":1}\n{\"b\":1}\n", 0);
        pair_expect(pair, "a", 0);
        pair_expect(pair, "b", 0);
        pair_put(pair, "{\"before\":1}\n", 0);
        pair_put_copies(pair, "{\"a\":1}\n", 8, inet, 1);
        pair_put(pair, "{\"behind\":1}\n", 0);
        pair_expect(pair, "before", 0);
        pair_expect(pair, "a", 1);
        pair_expect(pair, "behind", 0);
        for (size_t i = 0; i < 3; i++) {
                pair_put_copies(pair, "{\"a\":1}\n", 8, inet, too_many[i]);
                assert_non_null(
                        strstr(pair_expect_result(pair, WIRE_MALFORMED), "more file descriptors than 1"));
        }
        pair_put(pair, "{\"a\":1}\n", 1);
        assert_non_null(strstr(pair_expect_result(pair, WIRE_MALFORMED), "no internet socket"));
        pair_put_copies(pair, "{\"a\":1}\n", 8, other, 1);
        pair_expect_result(pair, WIRE_MALFORMED);
        wire_set_care(pair->wire, WIRE_STRANGER, 0);
        pair_put_copies(pair, "{\"a\":1}\n", 8, inet, 1);
        assert_non_null(strstr(pair_expect_result(pair, WIRE_MALFORMED), "no file descriptors are taken"));
        pair_put(pair, "{\"a\":1}\n", 0);
        pair_expect(pair, "a", 0);
        pair_put(pair, "{\"a\":", 0);
        pair_expect_result(pair, WIRE_AGAIN);
        pair_put(pair, "1}\n", 1);
        assert_non_null(strstr(pair_expect_result(pair, WIRE_TOO_LONG), "middle"));
        assert_int_equal(fd_count_open(), before + 2);
}

/* What lasts to close holds nothing up, wherever it is given up: with a message, a refused one, half a line,
 * as surplus, unread, and where we are without room. */
static void test_stranger_who_is_stubborn(void **state) {
        struct pair *pair = *state;
        struct rlimit saved, tight;
        int other, fd = harness_make_stubborn_socket(&other);

        wire_set_care(pair->wire, WIRE_STRANGER, 1);
        pair_put_copies(pair, "{\"a\":1}\n", 8, fd, 1);
        pair_put_copies(pair, "{\"a\":1}\n", 8, fd, 3);
        pair_put_copies(pair, "{\"a\":1}\n", 8, fd, 253);
        pair_put_copies(pair, "{\"a\":1}\n{", 9, fd, 1);
        pair_expect(pair, "a", 1);
        pair_expect_result(pair, WIRE_MALFORMED);
        pair_expect_result(pair, WIRE_MALFORMED);
        pair_expect(pair, "a", 0);
        pair_expect_result(pair, WIRE_AGAIN);
        pair_put_copies(pair, "}\n{\"a\":1}\n", 10, fd, 1);
        fd_close(fd);
        int next = fd_dup(pair->peer);
        fd_close(next);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved), 0);
        tight = (struct rlimit){ .rlim_cur = (rlim_t)next, .rlim_max = saved.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
        struct wire_message message = WIRE_MESSAGE_INIT;
        assert_int_equal(wire_receive(pair->wire, &message, NULL), -EMFILE);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved), 0);
        pair->wire = wire_free(pair->wire);
        fd_close(other);
}

HARNESS_MAIN(PAIR_TEST(test_fds), PAIR_TEST(test_fds_on_their_line), PAIR_TEST(test_fds_with_long_line),
             PAIR_TEST(test_fds_too_many), PAIR_TEST(test_fds_beyond_rlimit),
             PAIR_TEST(test_carrier_beyond_rlimit), PAIR_TEST(test_fds_out_of_place),
             PAIR_TEST(test_free_closes_fds), PAIR_TEST(test_stranger),
             PAIR_TEST(test_stranger_who_is_stubborn))
