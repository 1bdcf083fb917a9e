/* The wire's blocking call: one exchange, made of what else a wire can do; see wire.h. */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <time.h>

#include "base/memory.h"
#include "wire/wire.h"

static int64_t now_ms(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits for `events` (POLLIN, POLLOUT), or an error on the socket. 0, -ETIMEDOUT or another -errno. */
static int wait_for(struct wire *wire, int events, int64_t deadline) {
        struct pollfd p = { .fd = wire_fd(wire), .events = (short)events };
        int64_t left = -1;
        int n;

        if (deadline >= 0) {
                left = deadline - now_ms();
                if (left < 0)
                        left = 0;
        }
        n = poll(&p, 1, (int)left);
        if (n == 0)
                return -ETIMEDOUT;
        return n < 0 && errno != EINTR ? -errno : 0;
}

/* WIRE_MESSAGE, WIRE_AGAIN, or -errno for all that ends a call. */
static int receive_reply(struct wire *wire, struct wire_message *ret, struct error *error) {
        int r = wire_receive(wire, ret, error);

        if (r == WIRE_MALFORMED || r == WIRE_TOO_LONG) {
                error_prefix(error, "the reply is malformed");
                return -EPROTO;
        }
        if (r == WIRE_END)
                return error_set(error, -ECONNRESET, "the peer closed the connection");
        return r;
}

/* Sends and receives until the request is out and *ret is filled. 0 or -errno. */
static int exchange(struct wire *wire, int sent, int64_t deadline, struct wire_message *ret,
                    struct error *error) {
        bool received = false;
        int r;

        for (;;) {
                if (!received) {
                        r = receive_reply(wire, ret, error);
                        if (r < 0)
                                return r;
                        received = r == WIRE_MESSAGE;
                }
                /* A peer that hung up may have said why before: so a failure to send counts only when there
                 * is nothing to read. */
                if (received && (sent < 0 || !wire_has_output(wire)))
                        return 0;
                if (sent < 0)
                        return error_errno(error, sent, "cannot send the request");

                r = wait_for(wire, (received ? 0 : POLLIN) | (wire_has_output(wire) ? POLLOUT : 0), deadline);
                if (r < 0)
                        return error_errno(error, r, "no reply");
                sent = wire_flush(wire);
        }
}

int wire_call(struct wire *wire, json_t *body, const int *fds, size_t n_fds, int timeout_ms,
              struct wire_message *ret, struct error *error) {
        _cleanup_(wire_message_deinit) struct wire_message reply = WIRE_MESSAGE_INIT;
        int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
        int sent, r;

        sent = wire_send(wire, body, fds, n_fds);
        if (sent < 0 && sent != -EPIPE && sent != -ECONNRESET)
                return error_errno(error, sent, "cannot send the request");
        r = exchange(wire, sent, deadline, &reply, error);
        if (r < 0) {
                /* A reply that comes late would be taken for the one to the next request. */
                if (r == -ETIMEDOUT)
                        wire_break(wire, r);
                return r;
        }
        *ret = reply;
        reply = WIRE_MESSAGE_INIT;
        return 0;
}
