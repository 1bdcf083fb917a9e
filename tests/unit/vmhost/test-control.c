/* The control socket, byte by byte: what a client of the reference's protocol sends and gets. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "fixture.h"
#include "harness.h"
#include "loop/loop.h"
#include "vmhost/claim.h"
#include "vmhost/client.h"
#include "vmhost/control.h"
#include "vmhost/supervisor.h"

#define INVALID(text) "{\"ok\":false,\"error\":\"invalid request: " text "\"}\n"
#define UNKNOWN(text) "{\"ok\":false,\"error\":\"unknown method: " text "\"}\n"
#define STATUS "{\"ok\":true,\"state\":\"running\",\"phase\":\"running\",\"uptime_ms\":#}\n"
#define INFO                                                                                                 \
        "{\"ok\":true,\"state\":\"running\",\"ssh_port\":2222,\"backend\":\"fake\",\"phase\":\"running\","   \
        "\"uptime_ms\":#}\n"
#define METHOD_TYPE(kind)                                                                                    \
        INVALID("json: cannot unmarshal " kind " into Go struct field Request.method of type vmhost.Method")
#define TIMEOUT_TYPE(kind)                                                                                   \
        INVALID("json: cannot unmarshal " kind " into Go struct field Request.timeout_seconds of type int")
#define REQUEST_TYPE(kind) INVALID("json: cannot unmarshal " kind " into Go value of type vmhost.Request")
#define FFFD "\xef\xbf\xbd"

/* `input` may hold NULs: its size is the literal's. `close`: the client ends its side behind it. */
#define CASE(input, close, output)                                                                           \
        { input, sizeof(input) - 1, close, output }

static const struct {
        const char *input;
        size_t size;
        bool close;
        const char *output; /* "#" stands for a number */
} exchanges[] = {
        /* The four that the contract has, framed in every way. */
        CASE("{\"method\":\"status\"}", false, STATUS),
        CASE("{\"method\":\"status\"}\n", false, STATUS),
        CASE(" \t\r\n{ \"method\" :\n\"status\" }", false, STATUS),
        CASE("{\"method\":\"status\",\"timeout_seconds\":0}", true, STATUS),
        CASE("{\"method\":\"info\"}", false, INFO),
        CASE("{\"method\":\"info\"}{\"method\":\"stop\"}\n", false, INFO),
        CASE("{\"method\":\"info\"} rubbish", false, INFO),

        /* Keys in any case, and the last one counts; null changes nothing. */
        CASE("{\"METHOD\":\"status\"}", false, STATUS),
        CASE("{\"mEtHoD\":\"info\",\"Method\":\"status\"}", false, STATUS),
        CASE("{\"method\":\"info\",\"method\":null}", false, INFO),
        CASE("{\"method\":\"status\",\"method\":\"x\"}", false, UNKNOWN("x")),
        CASE("{\"\\u006dethod\":\"\\u0073tatus\"}", false, STATUS),
        CASE("{\"methods\":\"status\"}", false, UNKNOWN("")),
        CASE("{\"metho\":\"status\"}", false, UNKNOWN("")),
        CASE("{\"method\":\"info\",\"TIMEOUT_\xc5\xbf"
             "econd\xc5\xbf\":\"x\"}",
             false, TIMEOUT_TYPE("string")),

        /* What is not asked for is passed over, whatever it is. */
        CASE("{\"x\":{\"method\":[1,-0.5e+3,{\"a\":\"}\"}]},\"y\":true,\"z\":false,\"n\":null,\"s\":\"\\\"\","
             "\"method\":\"status\"}",
             false, STATUS),

        /* No method. */
        CASE("{}", false, UNKNOWN("")),
        CASE("null", true, UNKNOWN("")),
        CASE("null\n", false, UNKNOWN("")),
        CASE("null}", false, UNKNOWN("")),
        CASE("{\"method\":null}", false, UNKNOWN("")),
        CASE("{\"method\":\"\"}", false, UNKNOWN("")),
        CASE("{\"method\":\"Status\"}", false, UNKNOWN("Status")),
        CASE("{\"method\":\"status \"}", false, UNKNOWN("status ")),
        CASE("{\"method\":\"stat\\u0000us\"}", false, UNKNOWN("stat\\u0000us")),

        /* What the answer escapes, and what it leaves alone. */
        CASE("{\"method\":\"<>&\\\"\\\\\\/\"}", false, UNKNOWN("\\u003c\\u003e\\u0026\\\"\\\\/")),
        CASE("{\"method\":\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"}", false,
             UNKNOWN("\\b\\f\\n\\r\\t\\u0001\\u001f\x7f")),
        CASE("{\"method\":\"\xe2\x80\xa8\\u2029\xe2\x80\xaa\"}", false,
             UNKNOWN("\\u2028\\u2029\xe2\x80\xaa")),
        CASE("{\"method\":\"\xc3\xa4\xf0\x9f\x98\x80\\ud83d\\ude00\"}", false,
             UNKNOWN("\xc3\xa4\xf0\x9f\x98\x80\xf0\x9f\x98\x80")),
        CASE("{\"method\":\"\xff\xe2\x82z\xc0\xaf\xed\xa0\x80\"}", false,
             UNKNOWN(FFFD FFFD FFFD "z" FFFD FFFD FFFD FFFD FFFD)),
        CASE("{\"method\":\"\\ud800\\udbff\\udc00\\udc00x\\uD800\\u0041\"}", false,
             UNKNOWN(FFFD "\xf4\x8f\xb0\x80" FFFD "x" FFFD "A")),

        /* Ends that come too early. */
        CASE("", true, INVALID("EOF")),
        CASE(" \n\t ", true, INVALID("EOF")),
        CASE("{\"method\":\"sta", true, INVALID("unexpected EOF")),
        CASE("{", true, INVALID("unexpected EOF")),
        CASE("[1,", true, INVALID("unexpected EOF")),
        CASE("\"", true, INVALID("unexpected EOF")),
        CASE("tru", true, INVALID("unexpected EOF")),
        CASE("-", true, INVALID("unexpected EOF")),
        CASE("1.", true, INVALID("unexpected EOF")),
        CASE("1e", true, INVALID("unexpected EOF")),

        /* Values of a wrong type; the first is the one that is told. */
        CASE("[]", false, REQUEST_TYPE("array")),
        CASE("[1,{\"a\":[]}]", false, REQUEST_TYPE("array")),
        CASE("\"status\"\n", false, REQUEST_TYPE("string")),
        CASE("\"status\"", true, REQUEST_TYPE("string")),
        CASE("12 ", false, REQUEST_TYPE("number")),
        CASE("0", true, REQUEST_TYPE("number")),
        CASE("-1.5e-7\n", false, REQUEST_TYPE("number")),
        CASE("01", false, REQUEST_TYPE("number")),
        CASE("true ", false, REQUEST_TYPE("bool")),
        CASE("{\"method\":5}", false, METHOD_TYPE("number")),
        CASE("{\"method\":true}", false, METHOD_TYPE("bool")),
        CASE("{\"method\":[\"status\"]}", false, METHOD_TYPE("array")),
        CASE("{\"method\":{\"a\":{}},\"method\":\"status\"}", false, METHOD_TYPE("object")),
        CASE("{\"timeout_seconds\":\"1\",\"method\":1}", false, TIMEOUT_TYPE("string")),
        CASE("{\"method\":\"status\",\"timeout_seconds\":1.5}", false, TIMEOUT_TYPE("number 1.5")),
        CASE("{\"method\":\"status\",\"timeout_seconds\":1e2}", false, TIMEOUT_TYPE("number 1e2")),
        CASE("{\"method\":\"status\",\"timeout_seconds\":9223372036854775808}", false,
             TIMEOUT_TYPE("number 9223372036854775808")),
        CASE("{\"method\":\"status\",\"timeout_seconds\":-9223372036854775808}", false, STATUS),
        CASE("{\"method\":\"status\",\"timeout_seconds\":null}", false, STATUS),
        CASE("{\"method\":\"status\",\"timeout_seconds\":false}", false, TIMEOUT_TYPE("bool")),

        /* What is no JSON, told at the byte at which it is seen, with nothing more needed. */
        CASE("x", false, INVALID("invalid character 'x' looking for beginning of value")),
        CASE("\0", false, INVALID("invalid character '\\\\x00' looking for beginning of value")),
        CASE("\x7f", false, INVALID("invalid character '\\\\x7f' looking for beginning of value")),
        CASE("\xff", false, INVALID("invalid character '\xc3\xbf' looking for beginning of value")),
        CASE("\x80", false, INVALID("invalid character '\\\\u0080' looking for beginning of value")),
        CASE("'", false, INVALID("invalid character '\\\\'' looking for beginning of value")),
        CASE("}", false, INVALID("invalid character '}' looking for beginning of value")),
        CASE("{'", false, INVALID("invalid character '\\\\'' looking for beginning of object key string")),
        CASE("{\"a\":1,}", false,
             INVALID("invalid character '}' looking for beginning of object key string")),
        CASE("{\"a\"1", false, INVALID("invalid character '1' after object key")),
        CASE("{\"a\":1 \"", false, INVALID("invalid character '\\\"' after object key:value pair")),
        CASE("[1 2", false, INVALID("invalid character '2' after array element")),
        CASE("[01", false, INVALID("invalid character '1' after array element")),
        CASE("[,", false, INVALID("invalid character ',' looking for beginning of value")),
        CASE("{\"a\n", false, INVALID("invalid character '\\\\n' in string literal")),
        CASE("\"\\x", false, INVALID("invalid character 'x' in string escape code")),
        CASE("\"\\u12g", false, INVALID("invalid character 'g' in \\\\u hexadecimal character escape")),
        CASE("trux", false, INVALID("invalid character 'x' in literal true (expecting 'e')")),
        CASE("[fal}", false, INVALID("invalid character '}' in literal false (expecting 's')")),
        CASE("nil", false, INVALID("invalid character 'i' in literal null (expecting 'u')")),
        CASE("-a", false, INVALID("invalid character 'a' in numeric literal")),
        CASE("1.a", false, INVALID("invalid character 'a' after decimal point in numeric literal")),
        CASE("1e+a", false, INVALID("invalid character 'a' in exponent of numeric literal")),
        CASE("{\"method\":\"status\"]", false, INVALID("invalid character ']' after object key:value pair")),
};

/* The text with each number behind `"uptime_ms":` as "#". */
static void mask(char *text) {
        char *at = strstr(text, "\"uptime_ms\":");

        if (!at)
                return;
        at += strlen("\"uptime_ms\":");
        size_t digits = strspn(at, "0123456789");
        assert_true(digits > 0);
        *at = '#';
        memmove(at + 1, at + digits, strlen(at + digits) + 1);
}

static char *exchange(const struct host *host, const char *input, size_t size, bool split, bool close_side) {
        int fd = host_connect(host);

        for (size_t i = 0; i < size;) {
                ssize_t n = send(fd, input + i, split ? 1 : size - i, MSG_NOSIGNAL);
                /* The answer may come before the rest is sent: that is the rest's loss. */
                if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
                        break;
                assert_true(n > 0);
                i += (size_t)n;
        }
        if (close_side)
                shutdown(fd, SHUT_WR);
        char *reply = host_read_all(fd, NULL);
        close(fd);
        return reply;
}

static void test_exchanges(void **state) {
        struct host host;

        host_start(&host, FAKE_DEAF, RESTART_POLICY_NO);
        host_await(&host, "\"running\"");
        for (size_t i = 0; i < ARRAY_SIZE(exchanges); i++)
                for (int way = 0; way < 4; way++) {
                        bool split = way & 1, close_side = way & 2;
                        if (exchanges[i].close && !close_side)
                                continue;
                        char *reply = exchange(&host, exchanges[i].input, exchanges[i].size, split,
                                               close_side);
                        mask(reply);
                        if (!text_equal(reply, exchanges[i].output))
                                print_message("# %zu, way %d: %s\n", i, way, exchanges[i].input);
                        assert_string_equal(reply, exchanges[i].output);
                        free(reply);
                }
        host_deinit(&host);
}

static char *repeat(const char *begin, char c, size_t n, const char *end) {
        char *text = malloc(strlen(begin) + n + strlen(end) + 1);

        assert_non_null(text);
        sprintf(text, "%s", begin);
        memset(text + strlen(begin), c, n);
        sprintf(text + strlen(begin) + n, "%s", end);
        return text;
}

static void check(const struct host *host, char *consume_request, const char *expected) {
        char *reply = exchange(host, consume_request, strlen(consume_request), false, false);

        assert_string_equal(reply, expected);
        free(reply);
        free(consume_request);
}

static void test_limits(void **state) {
        struct host host;

        host_start(&host, FAKE_DEAF, RESTART_POLICY_NO);
        check(&host, repeat("", '[', 10001, ""), INVALID("exceeded max depth"));
        char *nested = repeat("", '[', 10000, ""), *closed = repeat(nested, ']', 10000, "");
        free(nested);
        check(&host, closed, REQUEST_TYPE("array"));

        /* A long one is read; one that is too long is not waited for. */
        char *long_reply = repeat("{\"ok\":false,\"error\":\"unknown method: ", 'x', 60000, "\"}\n");
        check(&host, repeat("{\"method\":\"", 'x', 60000, "\"}"), long_reply);
        free(long_reply);
        check(&host, repeat("{\"method\":\"", 'x', CLIENT_REQUEST_MAX, ""),
              INVALID("longer than 65536 bytes"));
        host_deinit(&host);
}

static void test_stop(void **state) {
        struct host host;
        static const char stopping[] = "{\"ok\":true,\"state\":\"stopping\"}\n";

        /* A deaf one: what is told while it stops, again and again, and what force does. */
        host_start(&host, FAKE_DEAF, RESTART_POLICY_NO);
        host_await(&host, "\"running\"");
        int waiting = host_connect(&host);
        assert_int_equal(send(waiting, "{\"method\":\"wait\"}", 17, 0), 17);
        shutdown(waiting, SHUT_WR); /* whoever has nothing more to say may still wait */
        uint64_t begun = loop_now();
        check(&host, strdup("{\"method\":\"stop\",\"timeout_seconds\":600}"), stopping);
        check(&host, strdup("{\"method\":\"stop\"}"), stopping);
        char *reply = host_ask(&host, "{\"method\":\"status\"}");
        assert_non_null(strstr(reply, "{\"ok\":true,\"state\":\"running\",\"phase\":\"stopping\""));
        free(reply);
        reply = host_ask(&host, "{\"method\":\"show\"}");
        /* The second stop named no time: 30 s from then, which is nearer than the first one's end. */
        static const char stop[] = "\"stop\":{\"stage\":\"acpi\",\"forced\":false,\"budget_ms\":";
        assert_non_null(strstr(reply, stop));
        assert_in_range(strtoull(strstr(reply, stop) + strlen(stop), NULL, 10), SUPERVISOR_STOP_MS,
                        SUPERVISOR_STOP_MS + (loop_now() - begun) / 1000);
        assert_non_null(strstr(reply, "\"wanted\":\"stopped\""));
        free(reply);
        check(&host, strdup("{\"method\":\"force_stop\"}"), stopping);
        reply = host_read_all(waiting, NULL);
        assert_non_null(strstr(reply, "{\"ok\":true,\"state\":\"stopped\",\"end\":{\"at\":"));
        assert_non_null(strstr(reply, "\"by\":\"host\",\"stage\":\"quit\""));
        free(reply);
        close(waiting);
        host_wait(&host);

        /* Its files are gone, and its record is not. */
        assert_int_equal(access(host.socket, F_OK), -1);
        char *path = text_format("%s/state.json", host.directory), *text;
        size_t size;
        assert_int_equal(file_read(path, 65536, &text, &size, NULL), 0);
        assert_non_null(strstr(text, "\"wanted\": \"stopped\""));
        assert_non_null(strstr(text, "\"by\": \"host\""));
        free(text);
        free(path);
        host_deinit(&host);
}

static void test_not_up(void **state) {
        struct host host;

        host_start(&host, FAKE_SLOW, RESTART_POLICY_NO);
        char *reply = host_ask(&host, "{\"method\":\"status\"}");
        mask(reply);
        assert_string_equal(
                reply, "{\"ok\":false,\"error\":\"the VM is not up yet: the fake is prepared\",\"phase\":"
                       "\"preparing\",\"uptime_ms\":#,\"message\":\"the fake is prepared\"}\n");
        free(reply);
        free(host_ask(&host, "{\"method\":\"stop\"}"));
        host_wait(&host);
        host_deinit(&host);
}

static void test_cont(void **state) {
        struct host host;

        host_start(&host, FAKE_PAUSED, RESTART_POLICY_NO);
        host_await(&host, "\"paused\"");
        char *reply = host_ask(&host, "{\"method\":\"cont\"}");
        assert_string_equal(reply, "{\"ok\":true,\"state\":\"running\"}\n");
        free(reply);
        reply = host_ask(&host, "{\"method\":\"cont\"}");
        assert_string_equal(reply, "{\"ok\":false,\"error\":\"the VM is not paused but running\"}\n");
        free(reply);
        host_deinit(&host);
}

static void test_events(void **state) {
        struct host host;

        host_start(&host, FAKE_PROMPT, RESTART_POLICY_NO);
        host_await(&host, "\"running\"");
        int fd = host_connect(&host);
        char first[256];
        assert_int_equal(send(fd, "{\"method\":\"events\"}", 19, 0), 19);
        ssize_t n = read(fd, first, sizeof(first) - 1);
        assert_true(n > 0);
        first[n] = '\0';
        assert_non_null(strstr(first, "{\"event\":\"phase\",\"at\":"));
        assert_non_null(strstr(first, "\"phase\":\"running\"}\n"));
        free(host_ask(&host, "{\"method\":\"stop\"}"));
        char *rest = host_read_all(fd, NULL), *at = rest;
        static const char *const order[] = { "\"phase\":\"stopping\"", "\"phase\":\"stopped\"",
                                             "{\"event\":\"end\"", "\"by\":\"host\"" };
        for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
                at = strstr(at, order[i]);
                assert_non_null(at);
        }
        free(rest);
        close(fd);
        host_wait(&host);
        host_deinit(&host);
}

static void test_files(void **state) {
        struct host host;
        struct stat status;
        char *text, expected[16];
        size_t size;

        host_start(&host, FAKE_PROMPT, RESTART_POLICY_NO);
        assert_int_equal(stat(host.socket, &status), 0);
        assert_int_equal(status.st_mode & 07777, 0600);
        char *path = text_format("%s/" CLAIM_PID, host.directory);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 07777, 0644);
        assert_int_equal(file_read(path, 64, &text, &size, NULL), 0);
        snprintf(expected, sizeof(expected), "%d", (int)host.pid);
        assert_string_equal(text, expected);
        free(text);

        /* A second one is told who is there; what another put in place of the pid file stays. */
        struct claim second = CLAIM_INIT;
        struct error error = ERROR_INIT;
        assert_int_equal(claim_take(&second, host.directory, "web", &error), -EALREADY);
        assert_non_null(strstr(error.text, expected));
        claim_deinit(&second);
        assert_int_equal(file_write(path, "1", 1, 0644, false, NULL), 0);
        free(host_ask(&host, "{\"method\":\"stop\"}"));
        host_wait(&host);
        assert_int_equal(access(path, F_OK), 0);
        assert_int_equal(access(host.socket, F_OK), -1);
        free(path);
        host_deinit(&host);
}

/* A thousand that say nothing, or half of something, and never read: the one who asks is answered. */
static void test_crowd(void **state) {
        enum { CROWD = 1000 };
        static int fds[CROWD];
        struct rlimit limit = { .rlim_cur = 4096, .rlim_max = 4096 };
        struct host host;

        host_start(&host, FAKE_PROMPT, RESTART_POLICY_NO);
        host_await(&host, "\"running\"");
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                skip();
        for (int i = 0; i < CROWD; i++) {
                fds[i] = host_connect(&host);
                if (i % 2)
                        send(fds[i], "{\"method\":", 10, MSG_NOSIGNAL);
                if (i % 100 == 0) {
                        char *reply = host_ask(&host, "{\"method\":\"status\"}");
                        mask(reply);
                        assert_string_equal(reply, STATUS);
                        free(reply);
                }
        }
        /* The first was turned out for others, with a word. */
        char *reply = host_read_all(fds[0], NULL);
        assert_string_equal(reply, "{\"ok\":false,\"error\":\"too many connections\"}\n");
        free(reply);
        /* The last is within its rights still. */
        assert_int_equal(send(fds[CROWD - 1], "\"info\"}", 7, MSG_NOSIGNAL), 7);
        reply = host_read_all(fds[CROWD - 1], NULL);
        mask(reply);
        assert_string_equal(reply, INFO);
        free(reply);
        for (int i = 0; i < CROWD; i++)
                close(fds[i]);
        host_deinit(&host);
}

/* Those who stay are counted too. */
static void test_followers(void **state) {
        static int fds[CONTROL_STAYING_MAX];
        struct host host;
        char byte;

        host_start(&host, FAKE_PROMPT, RESTART_POLICY_NO);
        host_await(&host, "\"running\"");
        for (int i = 0; i < CONTROL_STAYING_MAX; i++) {
                fds[i] = host_connect(&host);
                assert_int_equal(send(fds[i], "{\"method\":\"events\"}", 19, 0), 19);
                assert_int_equal(read(fds[i], &byte, 1), 1);
        }
        check(&host, strdup("{\"method\":\"wait\"}"),
              "{\"ok\":false,\"error\":\"too many clients wait or follow events already\"}\n");
        /* One that closes makes room. */
        close(fds[0]);
        char *reply = NULL;
        do {
                free(reply);
                int fd = host_connect(&host);
                assert_int_equal(send(fd, "{\"method\":\"events\"}", 19, 0), 19);
                reply = malloc(64);
                ssize_t n = read(fd, reply, 63);
                assert_true(n > 0);
                reply[n] = '\0';
                close(fd);
        } while (text_starts_with(reply, "{\"ok\":false"));
        assert_true(text_starts_with(reply, "{\"event\":\"phase\""));
        free(reply);
        for (int i = 1; i < CONTROL_STAYING_MAX; i++)
                close(fds[i]);
        host_deinit(&host);
}

HARNESS_MAIN(cmocka_unit_test(test_exchanges), cmocka_unit_test(test_limits), cmocka_unit_test(test_stop),
             cmocka_unit_test(test_cont), cmocka_unit_test(test_not_up), cmocka_unit_test(test_events),
             cmocka_unit_test(test_files), cmocka_unit_test(test_crowd), cmocka_unit_test(test_followers))
