/* A channel: requests over a wire, their replies in order, and the events these become. */
#include "lib/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/fd.h"
#include "lib/deadline.h"
#include "wire/fields.h"

#define DEFAULT_TIMEOUT_MS 30000 /* three times what the broker gives a network to come up */

#define END_TEXT "the other side closed the connection"

enum request_kind {
        REQUEST_CALL, /* ends in `done`; its caller frees it */
        REQUEST_BEGUN, /* ends on the list of events */
        REQUEST_ABANDONED, /* ends by being freed */
};

struct request {
        struct list link;
        enum request_kind kind;
        channel_finish_fn finish; /* of REQUEST_BEGUN */
        struct berth_event event;
        struct error error; /* event.message borrows its text */
        int code;
        bool done;
        struct wire_message reply; /* of REQUEST_CALL, when done without an error */
};

static struct request *request_new(enum request_kind kind, channel_finish_fn finish) {
        struct request *request = calloc(1, sizeof(*request));

        if (!request)
                return NULL;
        list_init(&request->link);
        request->kind = kind;
        request->finish = finish;
        request->event.size = sizeof(request->event);
        request->event.message = "";
        return request;
}

static struct request *request_free(struct request *request) {
        if (!request)
                return NULL;
        list_unlink(&request->link);
        wire_message_deinit(&request->reply);
        free(request);
        return NULL;
}

/* Frees a request that never was popped, with the object that its event holds. */
static void request_drop(struct request *request) {
        berth_network_free(request->event.network);
        berth_interface_free(request->event.interface);
        request_free(request);
}

void channel_init(struct channel *channel, enum berth_event_type lost_event) {
        *channel = (struct channel){ .timeout_ms = DEFAULT_TIMEOUT_MS, .lost_event = lost_event };
        list_init(&channel->waiting);
        list_init(&channel->events);
}

void channel_deinit(struct channel *channel) {
        channel->wire = wire_free(channel->wire);
        list_for_each(struct request, request, &channel->waiting, link)
                request_free(request);
        list_for_each(struct request, request, &channel->events, link)
                request_drop(request);
        channel->popped = request_free(channel->popped);
}

int channel_open(struct channel *channel, int consume_fd) {
        int r = wire_new(&channel->wire, consume_fd);

        if (r < 0)
                return error_errno(&channel->error, r, "cannot use the connection");
        channel->lost = ERROR_INIT;
        return 0;
}

void channel_clear_error(struct channel *channel) {
        channel->error = ERROR_INIT;
        channel->code = 0;
}

int channel_fail(struct channel *channel, int code, const char *format, ...) {
        char text[sizeof(channel->error.text)];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        channel->code = 0;
        return error_set(&channel->error, code, "%s", text);
}

/* The errno that stands for one of the other side's codes; the table in berth.h. */
static int code_to_errno(uint64_t code) {
        switch (code) {
        case BERTH_ERROR_NOT_ALLOWED:
                return -EACCES;
        case BERTH_ERROR_INVALID_REQUEST:
                return -EINVAL;
        case BERTH_ERROR_NOT_FOUND:
                return -ENOENT;
        case BERTH_ERROR_CREATE_FAILURE:
                return -ENODEV;
        case BERTH_ERROR_IN_USE:
                return -EBUSY;
        default:
                return -EREMOTEIO;
        }
}

/* The error that a reply reports, if it does: 0 or a negative errno, then with its text and the other side's
 * code. */
static int reply_read_error(json_t *body, struct error *error, int *ret_code) {
        const char *message = "refused without a reason";
        uint64_t code = 0;
        const struct field fields[] = {
                { .key = "error",
                  .type = FIELD_U64,
                  .required = true,
                  .ret = &code,
                  .min = 1,
                  .max = INT32_MAX },
                { .key = "message", .type = FIELD_STRING, .ret = &message },
        };

        if (!json_object_get(body, "error"))
                return 0;
        if (fields_parse(body, fields, ARRAY_SIZE(fields), true, error) < 0) {
                error_prefix(error, "the reply makes no sense");
                return -EPROTO;
        }
        *ret_code = (int)code;
        return error_set(error, code_to_errno(code), "%s", message);
}

/* The request has its answer, or will have none: result is then a negative errno, its text in request. */
static void channel_end(struct channel *channel, struct request *request, int result,
                        struct wire_message *reply) {
        list_unlink(&request->link);

        if (request->kind == REQUEST_ABANDONED) {
                request_free(request);
                return;
        }
        if (request->kind == REQUEST_BEGUN && result == 0)
                result = request->finish(reply, &request->event, &request->error);
        if (result < 0) {
                request->event.type = BERTH_EVENT_FAILED;
                request->event.error = result;
                request->event.code = request->code;
                request->event.message = error_text(&request->error, result);
        }
        if (request->kind == REQUEST_BEGUN) {
                list_append(&channel->events, &request->link);
                return;
        }
        if (result == 0) {
                request->reply = *reply;
                *reply = WIRE_MESSAGE_INIT;
        }
        request->done = true;
}

/* The connection is of no use any more: every request that waits fails, and an event will tell. */
static void channel_lose(struct channel *channel, int code, const char *reason) {
        channel->wire = wire_free(channel->wire);
        error_set(&channel->lost, code, "%s", reason);

        list_for_each(struct request, request, &channel->waiting, link) {
                error_set(&request->error, code, "%s", reason);
                channel_end(channel, request, code, NULL);
        }
}

static void channel_take_reply(struct channel *channel, struct wire_message *reply) {
        struct request *request;
        int r;

        if (list_empty(&channel->waiting)) {
                /* A broker that is full says so, unasked, and closes. */
                struct error error = ERROR_INIT;
                int code;

                r = reply_read_error(reply->body, &error, &code);
                channel_lose(channel, r < 0 ? r : -EPROTO,
                             r < 0 ? error_text(&error, r) : "the other side sent what nobody asked for");
                return;
        }
        request = container_of(channel->waiting.next, struct request, link);
        r = reply_read_error(reply->body, &request->error, &request->code);
        channel_end(channel, request, r, reply);
}

/* Whether a socket's error merely says that the other side has gone. */
static bool is_end(int code) {
        return code == -EPIPE || code == -ECONNRESET;
}

/* Moves what can be moved without waiting. Does nothing without a connection. */
static void channel_move(struct channel *channel) {
        int r;

        if (channel->wire && wire_has_output(channel->wire)) {
                r = wire_flush(channel->wire);
                /* What the other side said before it went is still to be read, and then its end. */
                if (r < 0 && !is_end(r))
                        channel_lose(channel, r, "the connection broke");
        }
        while (channel->wire) {
                _cleanup_(wire_message_deinit) struct wire_message message = WIRE_MESSAGE_INIT;
                struct error error = ERROR_INIT;

                r = wire_receive(channel->wire, &message, &error);
                switch (r) {
                case WIRE_AGAIN:
                        return;
                case WIRE_MESSAGE:
                        channel_take_reply(channel, &message);
                        break;
                case WIRE_END:
                        channel_lose(channel, -ECONNRESET, END_TEXT);
                        break;
                case WIRE_MALFORMED:
                case WIRE_TOO_LONG:
                        error_prefix(&error, "the other side broke the protocol");
                        channel_lose(channel, -EPROTO, error_text(&error, -EPROTO));
                        break;
                default:
                        channel_lose(channel, r, is_end(r) ? END_TEXT : "the connection broke");
                        break;
                }
        }
}

/* Whether a request and its body could be made. */
static int channel_check(struct channel *channel, const struct request *request, const json_t *body) {
        if (!request)
                return channel_fail(channel, -ENOMEM, "out of memory");
        if (!body)
                return channel_fail(channel, -EINVAL,
                                    "a name in the request is not UTF-8, or memory is short");
        return 0;
}

/*
 * Sends a request (with fd where that is not -1), which then waits for its reply or has failed already; or a
 * negative errno, and the request is still the caller's.
 */
static int channel_send(struct channel *channel, struct request *request, json_t *body, int fd) {
        int r;

        if (!channel->wire)
                return channel_fail(channel, -ENOTCONN, "there is no connection");
        r = wire_send(channel->wire, body, &fd, fd >= 0 ? 1 : 0);
        if (r == -EMSGSIZE)
                return channel_fail(channel, r, "the request is too long");
        request->event.id = ++channel->last_id;
        list_append(&channel->waiting, &request->link);
        if (r < 0) {
                /* Replies to earlier requests, and the reason, may still be there to read. */
                channel_move(channel);
                if (channel->wire)
                        channel_lose(channel, is_end(r) ? -ECONNRESET : r,
                                     is_end(r) ? END_TEXT : "the connection broke");
        }
        return 0;
}

/* Waits until the request is done: 0 or -ETIMEDOUT. */
static int channel_wait(struct channel *channel, const struct request *request) {
        int64_t deadline = deadline_in(channel->timeout_ms);

        for (;;) {
                struct pollfd pollfd;
                int left;

                channel_move(channel);
                if (request->done)
                        return 0;
                left = deadline_left(deadline);
                if (left == 0)
                        return -ETIMEDOUT;
                pollfd = (struct pollfd){ .fd = channel_get_fd(channel),
                                          .events = (short)channel_get_events(channel) };
                if (poll(&pollfd, 1, left) < 0 && errno != EINTR)
                        return -errno;
        }
}

int channel_call(struct channel *channel, json_t *consume_body, struct wire_message *ret) {
        return channel_call_fd(channel, consume_body, -1, ret);
}

int channel_call_fd(struct channel *channel, json_t *consume_body, int fd, struct wire_message *ret) {
        json_t *body = consume_body;
        struct request *request = request_new(REQUEST_CALL, NULL);
        int r;

        channel_clear_error(channel);
        r = channel_check(channel, request, body);
        if (r == 0)
                r = channel_send(channel, request, body, fd);
        json_decref(body);
        if (r < 0) {
                request_free(request);
                return r;
        }
        r = channel_wait(channel, request);
        if (r < 0) {
                request->kind = REQUEST_ABANDONED;
                return channel_fail(channel, r, "no answer within %d ms", channel->timeout_ms);
        }
        r = request->event.error;
        if (r < 0) {
                channel->error = request->error;
                channel->code = request->code;
        } else {
                *ret = request->reply;
                request->reply = WIRE_MESSAGE_INIT;
        }
        request_free(request);
        return r;
}

int channel_begin(struct channel *channel, json_t *consume_body, channel_finish_fn finish, uint64_t *ret_id) {
        json_t *body = consume_body;
        struct request *request = request_new(REQUEST_BEGUN, finish);
        int r;

        channel_clear_error(channel);
        r = channel_check(channel, request, body);
        if (r == 0)
                r = channel_send(channel, request, body, -1);
        json_decref(body);
        if (r < 0) {
                request_free(request);
                return r;
        }
        *ret_id = request->event.id;
        return 0;
}

int channel_get_fd(const struct channel *channel) {
        return channel->wire ? wire_fd(channel->wire) : -ENOTCONN;
}

int channel_get_events(const struct channel *channel) {
        if (!channel->wire)
                return -ENOTCONN;
        return POLLIN | (wire_has_output(channel->wire) ? POLLOUT : 0);
}

int channel_dispatch(struct channel *channel) {
        if (!channel->wire)
                return -ENOTCONN;
        channel_move(channel);
        return 0;
}

const struct berth_event *channel_pop(struct channel *channel) {
        channel->popped = request_free(channel->popped);

        if (!list_empty(&channel->events)) {
                channel->popped = container_of(channel->events.next, struct request, link);
                list_unlink(&channel->popped->link);
                return &channel->popped->event;
        }
        if (channel->lost.code == 0)
                return NULL;
        channel->popped = request_new(REQUEST_BEGUN, NULL);
        if (!channel->popped)
                return NULL; /* told at the next pop, when memory is there again */
        channel->popped->error = channel->lost;
        channel->popped->event.type = channel->lost_event;
        channel->popped->event.error = channel->lost.code;
        channel->popped->event.message = error_text(&channel->popped->error, channel->lost.code);
        channel->lost = ERROR_INIT;
        return &channel->popped->event;
}

int channel_set_inheritable(struct channel *channel, bool inheritable) {
        int r;

        channel_clear_error(channel);
        if (!channel->wire)
                return channel_fail(channel, -ENOTCONN, "there is no connection");
        r = fd_set_cloexec(wire_fd(channel->wire), !inheritable);
        if (r < 0)
                return error_errno(&channel->error, r, "cannot change the connection");
        return 0;
}
