/* wire/wire: a call, answered by a process at the other end. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "pair.h"

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
                json_t *body = pair_make_body(size);

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
        json_t *body = pair_make_body(60000);
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
        json_t *body = pair_make_body(60000);
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
        json_t *body = pair_make_body(1);
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
        json_t *body = pair_make_body(1);
        pid_t pid = serve(pair, refuse_at_once);

        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(wire_call(pair->wire, body, NULL, 0, 60000, &reply, NULL), 0);
        assert_int_equal(json_integer_value(json_object_get(reply.body, "error")), 3);
        json_decref(body);
}

HARNESS_MAIN(PAIR_TEST(test_call), PAIR_TEST(test_call_in_parts), PAIR_TEST(test_call_flushes),
             PAIR_TEST(test_call_peer_closes), PAIR_TEST(test_call_times_out), PAIR_TEST(test_call_nonsense),
             PAIR_TEST(test_call_refused_at_once))
