/* wire/wire */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "wire/wire.h"

/* A wire, and the other end of its socket (blocking), to be spoken to by hand. */
struct pair {
        struct wire *wire;
        int peer;
};

static int setup(void **state) {
        static struct pair pair;
        int fds[2];

        assert_int_equal(fd_socketpair(fds, false), 0);
        assert_int_equal(wire_new(&pair.wire, fds[0]), 0);
        pair.peer = fds[1];
        *state = &pair;
        return 0;
}

static int teardown(void **state) {
        struct pair *pair = *state;

        pair->wire = wire_free(pair->wire);
        pair->peer = fd_close(pair->peer);
        return 0;
}

/* Sends bytes in one call, with n_fds copies of fd. */
static void put_copies(struct pair *pair, const char *data, size_t size, int fd, size_t n_fds) {
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int) * 253)];
        } control = {};
        struct iovec vector = { .iov_base = (char *)data, .iov_len = size };
        struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
        int fds[253];

        for (size_t i = 0; i < n_fds; i++)
                fds[i] = fd;
        if (n_fds > 0) {
                control.align.cmsg_level = SOL_SOCKET;
                control.align.cmsg_type = SCM_RIGHTS;
                control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                message.msg_control = control.bytes;
                message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
                memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
        }
        assert_int_equal(sendmsg(pair->peer, &message, MSG_NOSIGNAL), size);
}

/* With n_fds copies of /dev/null. */
static void put_bytes(struct pair *pair, const char *data, size_t size, size_t n_fds) {
        _cleanup_fd_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

        put_copies(pair, data, size, null, n_fds);
}

static void put(struct pair *pair, const char *text, size_t n_fds) {
        put_bytes(pair, text, strlen(text), n_fds);
}

/* The next message is {KEY: ...} and has that many fds. */
static void expect(struct pair *pair, const char *key, size_t n_fds) {
        _cleanup_(wire_message_deinit) struct wire_message message = WIRE_MESSAGE_INIT;
        struct error error = ERROR_INIT;

        assert_int_equal(wire_receive(pair->wire, &message, &error), WIRE_MESSAGE);
        assert_non_null(json_object_get(message.body, key));
        assert_int_equal(message.n_fds, n_fds);
        for (size_t i = 0; i < n_fds; i++)
                assert_int_equal(fcntl(message.fds[i], F_GETFD), FD_CLOEXEC);
}

/* The next result, which is no message; returns error's text. */
static const char *expect_result(struct pair *pair, int result) {
        static struct error error;
        struct wire_message message = WIRE_MESSAGE_INIT;

        error = ERROR_INIT;
        assert_int_equal(wire_receive(pair->wire, &message, &error), result);
        assert_null(message.body);
        assert_int_equal(message.n_fds, 0);
        return error.text;
}

/* --- Receiving --- */

static void test_lines(void **state) {
        struct pair *pair = *state;

        expect_result(pair, WIRE_AGAIN);
        put(pair, "{\"a\":1}\n{\"b\":1}\n{\"c\"", 0);
        assert_false(wire_has_input(pair->wire));
        expect(pair, "a", 0);
        assert_true(wire_has_input(pair->wire));
        expect(pair, "b", 0);
        assert_false(wire_has_input(pair->wire));
        expect_result(pair, WIRE_AGAIN);
        put(pair, ":1", 0);
        expect_result(pair, WIRE_AGAIN);
        put(pair, "}\n", 0);
        expect(pair, "c", 0);
        expect_result(pair, WIRE_AGAIN);
}

static void test_byte_by_byte(void **state) {
        static const char text[] = " {\"a\" : \"\\n\xc3\xa9\"} \n{\"b\":1}\n";
        struct pair *pair = *state;

        for (const char *c = text; *c; c++) {
                put_bytes(pair, c, 1, 0);
                if (*c != '\n')
                        expect_result(pair, WIRE_AGAIN);
                else
                        expect(pair, c[1] ? "a" : "b", 0);
        }
}

static void test_end(void **state) {
        struct pair *pair = *state;

        put(pair, "{\"a\":1}\n{\"half", 1);
        pair->peer = fd_close(pair->peer);
        expect(pair, "a", 0); /* the descriptor is the half line's */
        expect_result(pair, WIRE_END);
        expect_result(pair, WIRE_END);
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
                put(pair, lines[i], 0);
                put(pair, "\n", 0);
                assert_string_not_equal(expect_result(pair, WIRE_MALFORMED), "");
        }
        /* A NUL as it is, and nesting to exhaust a stack. */
        put_bytes(pair, "{\"a\":1}\0\n", 9, 0);
        expect_result(pair, WIRE_MALFORMED);
        put_bytes(pair, "{\"a\":\"\0\"}\n", 10, 0);
        expect_result(pair, WIRE_MALFORMED);
        memset(nested, '[', sizeof(nested));
        put(pair, "{\"a\":", 0);
        for (int i = 0; i < 6; i++) {
                put_bytes(pair, nested, sizeof(nested), 0);
                expect_result(pair, WIRE_AGAIN);
        }
        put(pair, "\n", 0);
        expect_result(pair, WIRE_MALFORMED);
        put(pair, "{\"fine\":1}\n", 0);
        expect(pair, "fine", 0);
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

                put_bytes(pair, line + sent, n, 0);
                sent += n;
                r = wire_receive(pair->wire, &message, NULL);
        }
        return r;
}

static void test_line_limit(void **state) {
        struct pair *pair = *state;
        size_t before = fd_count_open();

        assert_int_equal(receive_line_of(pair, WIRE_LINE_MAX), WIRE_MESSAGE);
        expect_result(pair, WIRE_AGAIN);
        assert_int_equal(receive_line_of(pair, WIRE_LINE_MAX + 1), WIRE_TOO_LONG);
        /* There is no way back. */
        put(pair, "\n{\"a\":1}\n", 3);
        assert_string_not_equal(expect_result(pair, WIRE_TOO_LONG), "");
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
        put(pair, "{\"before\":1}\n", 0);
        put_bytes(pair, data, sizeof(data), 0);
        expect(pair, "before", 0);
        for (sent = sizeof(data); sent < 1024 * 1024; sent += sizeof(data)) {
                put_bytes(pair, data, sizeof(data), 0);
                r = wire_receive(pair->wire, &WIRE_MESSAGE_INIT, NULL);
                if (r != WIRE_AGAIN)
                        break;
        }
        assert_int_equal(r, WIRE_TOO_LONG);
        assert_true(sent <= WIRE_LINE_MAX);
}

static void test_fds(void **state) {
        struct pair *pair = *state;
        struct wire_message message = WIRE_MESSAGE_INIT;
        size_t before = fd_count_open();
        int taken;

        put(pair, "{\"a\":1}\n", WIRE_FDS_MAX);
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

        put(pair, "{\"a\":1}\n", 0);
        put(pair, "{\"b\":1}\n", 2);
        put(pair, "{\"c\":1}\n", 3);
        put(pair, "{\"d\":1}\n", 0);
        put(pair, "{\"e\":1}\n", 1);
        expect(pair, "a", 0);
        expect(pair, "b", 2);
        expect(pair, "c", 3);
        expect(pair, "d", 0);
        expect(pair, "e", 1);

        /* Half a line with descriptors is held, while its end comes glued to the next line, with others. */
        put(pair, "{\"a\":", 2);
        expect_result(pair, WIRE_AGAIN);
        put(pair, "1}\n", 0);
        put(pair, "{\"b\":1", 4);
        expect(pair, "a", 2);
        expect_result(pair, WIRE_AGAIN);
        put(pair, "}\n{\"c\":1}\n", 0);
        put(pair, "{\"d\":1}\n", 5);
        expect(pair, "b", 4);
        expect(pair, "c", 0);
        expect(pair, "d", 5);
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

        put(pair, "{\"before\":1}\n", 0);
        put(pair, "{\"a\":1}\n", WIRE_FDS_MAX + 1);
        put(pair, "{\"b\":1}\n", 253); /* all that the kernel lets through */
        put(pair, "{\"c\":1}\n", 1);
        expect(pair, "before", 0);
        assert_non_null(strstr(expect_result(pair, WIRE_MALFORMED), "16 file descriptors"));
        expect_result(pair, WIRE_MALFORMED);
        assert_int_equal(fd_count_open(), before);
        expect(pair, "c", 1);
}

/* At the limit of this process the kernel drops what does not fit: no half set is handed out. */
static void test_fds_beyond_rlimit(void **state) {
        struct pair *pair = *state;
        size_t before = fd_count_open();
        struct rlimit saved, tight;
        int next = fd_dup(pair->peer);

        fd_close(next);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved), 0);
        put(pair, "{\"a\":1}\n", 5);
        tight = (struct rlimit){ .rlim_cur = (rlim_t)next + 2, .rlim_max = saved.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
        expect_result(pair, WIRE_MALFORMED);
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
        put(pair, "{\"a\":1}\n", 5);
        put(pair, "{\"b\":1}\n", 1);
        tight = (struct rlimit){ .rlim_cur = (rlim_t)next + 2, .rlim_max = saved.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
        assert_int_equal(wire_receive(pair->wire, &message, NULL), WIRE_MESSAGE);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved), 0);
        assert_true(message.lost);
        assert_int_equal(message.n_fds, 0);
        assert_int_equal(fd_count_open(), before);
        expect(pair, "b", 1);
}

static void test_fds_out_of_place(void **state) {
        struct pair *pair = *state;
        size_t before = fd_count_open();

        put(pair, "{\"a\":", 2);
        expect_result(pair, WIRE_AGAIN);
        put(pair, "1}\n", 1);
        assert_non_null(strstr(expect_result(pair, WIRE_TOO_LONG), "middle"));
        assert_int_equal(fd_count_open(), before);
}

/* Descriptors that nobody fetched go with the wire. */
static void test_free_closes_fds(void **state) {
        struct pair *pair = *state;
        size_t before = fd_count_open();

        put(pair, "{\"a\":", 4);
        expect_result(pair, WIRE_AGAIN);
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
        put(pair, "{\"a\":1}\n{\"b\":1}\n", 0);
        expect(pair, "a", 0);
        expect(pair, "b", 0);
        put(pair, "{\"before\":1}\n", 0);
        put_copies(pair, "{\"a\":1}\n", 8, inet, 1);
        put(pair, "{\"behind\":1}\n", 0);
        expect(pair, "before", 0);
        expect(pair, "a", 1);
        expect(pair, "behind", 0);
        for (size_t i = 0; i < 3; i++) {
                put_copies(pair, "{\"a\":1}\n", 8, inet, too_many[i]);
                assert_non_null(strstr(expect_result(pair, WIRE_MALFORMED), "more file descriptors than 1"));
        }
        put(pair, "{\"a\":1}\n", 1);
        assert_non_null(strstr(expect_result(pair, WIRE_MALFORMED), "no internet socket"));
        put_copies(pair, "{\"a\":1}\n", 8, other, 1);
        expect_result(pair, WIRE_MALFORMED);
        wire_set_care(pair->wire, WIRE_STRANGER, 0);
        put_copies(pair, "{\"a\":1}\n", 8, inet, 1);
        assert_non_null(strstr(expect_result(pair, WIRE_MALFORMED), "no file descriptors are taken"));
        put(pair, "{\"a\":1}\n", 0);
        expect(pair, "a", 0);
        put(pair, "{\"a\":", 0);
        expect_result(pair, WIRE_AGAIN);
        put(pair, "1}\n", 1);
        assert_non_null(strstr(expect_result(pair, WIRE_TOO_LONG), "middle"));
        assert_int_equal(fd_count_open(), before + 2);
}

/* What lasts to close holds nothing up, wherever it is given up: with a message, a refused one, half a line, as surplus,
 * unread, and where we are without room. */
static void test_stranger_who_is_stubborn(void **state) {
        struct pair *pair = *state;
        struct rlimit saved, tight;
        int other, fd = harness_make_stubborn_socket(&other);

        wire_set_care(pair->wire, WIRE_STRANGER, 1);
        put_copies(pair, "{\"a\":1}\n", 8, fd, 1);
        put_copies(pair, "{\"a\":1}\n", 8, fd, 3);
        put_copies(pair, "{\"a\":1}\n", 8, fd, 253);
        put_copies(pair, "{\"a\":1}\n{", 9, fd, 1);
        expect(pair, "a", 1);
        expect_result(pair, WIRE_MALFORMED);
        expect_result(pair, WIRE_MALFORMED);
        expect(pair, "a", 0);
        expect_result(pair, WIRE_AGAIN);
        put_copies(pair, "}\n{\"a\":1}\n", 10, fd, 1);
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

/* --- Sending --- */

static json_t *make_body(size_t text_size) {
        char *text = malloc(text_size + 1);
        json_t *body = json_object();

        memset(text, 'x', text_size);
        text[text_size] = '\0';
        assert_int_equal(json_object_set_new(body, "a", json_string(text)), 0);
        free(text);
        return body;
}

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
        json_t *fits = make_body(WIRE_LINE_MAX - 9), *exceeds = make_body(WIRE_LINE_MAX - 8),
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
        json_t *body = make_body(1);

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
        json_t *body = make_body(n % 5 == 0 ? 60000 : 3000);

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
        json_t *body = make_body(10000);
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
        json_t *body = make_body(1);
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

/* --- Calling --- */

/* A process that serves the peer's end with one of the behaviours below. */
static pid_t serve(struct pair *pair, void (*behaviour)(struct wire *wire)) {
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                struct wire *wire;

                prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(wire_fd(pair->wire));
                if (wire_new(&wire, pair->peer) < 0)
                        _exit(1);
                behaviour(wire);
                _exit(0);
        }
        pair->peer = fd_close(pair->peer);
        return pid;
}

static int wait_for_message(struct wire *wire, struct wire_message *ret) {
        int r;

        while ((r = wire_receive(wire, ret, NULL)) == WIRE_AGAIN)
                poll(&(struct pollfd){ .fd = wire_fd(wire), .events = POLLIN }, 1, -1);
        return r;
}

static void echo(struct wire *wire) {
        struct wire_message message;

        while (wait_for_message(wire, &message) == WIRE_MESSAGE) {
                int r = wire_send(wire, message.body, message.fds, message.n_fds);

                while (r == 0 && wire_has_output(wire)) {
                        poll(&(struct pollfd){ .fd = wire_fd(wire), .events = POLLOUT }, 1, -1);
                        r = wire_flush(wire);
                }
                wire_message_deinit(&message);
                if (r < 0)
                        return; /* the caller has seen enough */
        }
}

static void hang_up_after_request(struct wire *wire) {
        struct wire_message message;

        wait_for_message(wire, &message);
}

static void say_nothing(struct wire *wire) {
        struct wire_message message;

        wait_for_message(wire, &message);
        wait_for_message(wire, &message); /* until the caller is gone */
}

static void say_nonsense(struct wire *wire) {
        hang_up_after_request(wire);
        if (write(wire_fd(wire), "nonsense\n", 9) != 9)
                _exit(1);
}

static void refuse_at_once(struct wire *wire) {
        json_t *body = json_pack("{s:i}", "error", 3);

        wire_send(wire, body, NULL, 0);
}

static void stop(struct pair *pair, pid_t pid) {
        int status;

        pair->wire = wire_free(pair->wire);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

static void test_call(void **state) {
        struct pair *pair = *state;
        _cleanup_fd_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        pid_t pid = serve(pair, echo);

        for (size_t size = 1; size < 65000; size = size * 5 + 1) {
                _cleanup_(wire_message_deinit) struct wire_message reply = WIRE_MESSAGE_INIT;
                json_t *body = make_body(size);

                assert_int_equal(wire_call(pair->wire, body, &null, 1, size % 2 ? -1 : 60000, &reply, NULL),
                                 0);
                assert_true(json_equal(body, reply.body));
                assert_int_equal(reply.n_fds, 1);
                json_decref(body);
        }
        stop(pair, pid);
}

/* The socket takes a part of the request, and the reply comes only when the rest has been sent. */
static void test_call_in_parts(void **state) {
        struct pair *pair = *state;
        _cleanup_(wire_message_deinit) struct wire_message reply = WIRE_MESSAGE_INIT;
        json_t *body = make_body(60000);
        int size = 8192;
        pid_t pid;

        assert_int_equal(setsockopt(wire_fd(pair->wire), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
        pid = serve(pair, echo);
        assert_int_equal(wire_call(pair->wire, body, NULL, 0, 60000, &reply, NULL), 0);
        assert_true(json_equal(body, reply.body));
        json_decref(body);
        stop(pair, pid);
}

/* Requests wait in the queue already: the call flushes them. */
static void test_call_flushes(void **state) {
        struct pair *pair = *state;
        json_t *body = make_body(60000);
        pid_t pid;

        while (!wire_has_output(pair->wire))
                assert_int_equal(wire_send(pair->wire, body, NULL, 0), 0);
        pid = serve(pair, echo);
        for (int i = 0; i < 3; i++) {
                struct wire_message reply = WIRE_MESSAGE_INIT;

                assert_int_equal(wire_call(pair->wire, body, NULL, 0, 60000, &reply, NULL), 0);
                assert_false(wire_has_output(pair->wire));
                wire_message_deinit(&reply);
        }
        json_decref(body);
        stop(pair, pid);
}

static void check_call_fails(struct pair *pair, void (*behaviour)(struct wire *wire), int timeout_ms,
                             int expected) {
        struct wire_message reply = WIRE_MESSAGE_INIT;
        struct error error = ERROR_INIT;
        json_t *body = make_body(1);
        pid_t pid = serve(pair, behaviour);

        assert_int_equal(wire_call(pair->wire, body, NULL, 0, timeout_ms, &reply, &error), expected);
        assert_string_not_equal(error.text, "");
        assert_null(reply.body);
        if (expected == -ETIMEDOUT) /* a late reply must not be taken for the next one */
                assert_int_equal(wire_send(pair->wire, body, NULL, 0), -ETIMEDOUT);
        json_decref(body);
        stop(pair, pid);
}

static void test_call_peer_closes(void **state) {
        check_call_fails(*state, hang_up_after_request, 60000, -ECONNRESET);
}

static void test_call_times_out(void **state) {
        check_call_fails(*state, say_nothing, 20, -ETIMEDOUT);
}

static void test_call_nonsense(void **state) {
        check_call_fails(*state, say_nonsense, 60000, -EPROTO);
}

/* A peer at its limit says so and hangs up, before it was asked: the caller gets to read that. */
static void test_call_refused_at_once(void **state) {
        struct pair *pair = *state;
        _cleanup_(wire_message_deinit) struct wire_message reply = WIRE_MESSAGE_INIT;
        json_t *body = make_body(1);
        pid_t pid = serve(pair, refuse_at_once);

        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(wire_call(pair->wire, body, NULL, 0, 60000, &reply, NULL), 0);
        assert_int_equal(json_integer_value(json_object_get(reply.body, "error")), 3);
        json_decref(body);
}

/* --- Making --- */

static void test_new_consumes(void **state) {
        size_t before = fd_count_open();
        _cleanup_(wire_freep) struct wire *wire = NULL;

        assert_int_equal(wire_new(&wire, -1), -EBADF);
        assert_null(wire);
        assert_int_equal(wire_new(&wire, open("/dev/null", O_RDWR | O_CLOEXEC)), 0);
        assert_true(fcntl(wire_fd(wire), F_GETFL) & O_NONBLOCK);
        assert_int_equal(fd_count_open(), before + 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

HARNESS_MAIN(TEST(test_lines), TEST(test_byte_by_byte), TEST(test_end), TEST(test_malformed_lines),
             TEST(test_line_limit), TEST(test_no_newline), TEST(test_fds), TEST(test_fds_on_their_line),
             TEST(test_fds_with_long_line), TEST(test_fds_too_many), TEST(test_fds_beyond_rlimit),
             TEST(test_fds_out_of_place), TEST(test_free_closes_fds), TEST(test_send),
             TEST(test_send_refused), TEST(test_send_to_closed), TEST(test_back_pressure),
             TEST(test_queue_limit), TEST(test_queue_limit_for_fds), TEST(test_call),
             TEST(test_call_in_parts), TEST(test_call_flushes), TEST(test_call_peer_closes),
             TEST(test_call_times_out), TEST(test_call_nonsense), TEST(test_call_refused_at_once),
             TEST(test_carrier_beyond_rlimit), TEST(test_stranger), TEST(test_stranger_who_is_stubborn), cmocka_unit_test(test_new_consumes))
