#include "vmhost/qmp.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/memory.h"

#define HANDSHAKE_ID 0 /* of qmp_capabilities; calls count from 1 */
#define READ_SIZE 4096
#define OUTPUT_MAX                                                                                           \
        (64 * 1024) /* bytes for a QEMU that does not read: calls whose time is over are among them */
#define READS_PER_TURN 16 /* a flood of events leaves the loop to others in between */

struct call {
        struct list calls;
        struct qmp *qmp;
        uint64_t id;
        char *line; /* still to be sent, when the handshake is over; else NULL */
        struct source *deadline;
        qmp_reply_fn fn;
        void *data;
};

struct qmp {
        struct loop *loop;
        int fd;
        struct source *source;
        const struct qmp_handlers *handlers;
        void *data;
        enum qmp_handshake handshake;

        struct list calls;
        size_t n_calls;
        uint64_t next_id;

        char *input; /* a line that is not whole yet */
        size_t input_size, input_room;
        size_t scanned; /* bytes of it without a newline */
        char *output; /* what the socket did not take */
        size_t output_size;

        unsigned entered; /* within how many handlers' callers we are: freeing waits for them */
        bool freed;
};

static void close_connection(struct qmp *qmp, int reason);

static void destroy(struct qmp *qmp) {
        source_free(qmp->source);
        fd_close(qmp->fd);
        free(qmp->input);
        free(qmp->output);
        free(qmp);
}

static void enter(struct qmp *qmp) {
        qmp->entered++;
}

static void leave(struct qmp *qmp) {
        if (--qmp->entered == 0 && qmp->freed)
                destroy(qmp);
}

/* Ends a call with its one reply. */
static void finish_call(struct call *call, int result, json_t *value) {
        struct qmp *qmp = call->qmp;
        qmp_reply_fn fn = call->fn;
        void *data = call->data;

        list_unlink(&call->calls);
        qmp->n_calls--;
        source_free(call->deadline);
        free(call->line);
        free(call);
        if (fn)
                fn(qmp, result, value, data);
}

static int on_deadline(struct source *source, void *data) {
        struct call *call = data;
        struct qmp *qmp = call->qmp;

        enter(qmp);
        finish_call(call, -ETIMEDOUT, NULL);
        leave(qmp);
        return 0;
}

/* Sends, and keeps what the socket does not take: 0 or -errno. */
static int send_text(struct qmp *qmp, const char *text, size_t size) {
        if (qmp->output_size == 0) {
                ssize_t n = send(qmp->fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && errno != EAGAIN && errno != EINTR)
                        return -errno;
                if (n > 0) {
                        text += n;
                        size -= (size_t)n;
                }
        }
        if (size == 0)
                return 0;
        if (qmp->output_size + size > OUTPUT_MAX)
                return -ENOBUFS;
        char *grown = realloc(qmp->output, qmp->output_size + size);
        if (!grown)
                return -ENOMEM;
        memcpy(grown + qmp->output_size, text, size);
        qmp->output = grown;
        qmp->output_size += size;
        return source_set_events(qmp->source, EPOLLIN | EPOLLOUT);
}

static int flush(struct qmp *qmp) {
        if (qmp->output_size == 0)
                return 0;
        ssize_t n = send(qmp->fd, qmp->output, qmp->output_size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        qmp->output_size -= (size_t)n;
        memmove(qmp->output, qmp->output + n, qmp->output_size);
        if (qmp->output_size > 0)
                return 0;
        free(qmp->output);
        qmp->output = NULL;
        return source_set_events(qmp->source, EPOLLIN);
}

static void become_ready(struct qmp *qmp) {
        qmp->handshake = QMP_READY;
        list_for_each(struct call, call, &qmp->calls, calls) {
                if (!call->line)
                        continue;
                _cleanup_free_ char *line = steal_ptr(call->line);
                int r = send_text(qmp, line, strlen(line));
                if (r < 0) {
                        close_connection(qmp, r);
                        return;
                }
        }
        qmp->handlers->on_ready(qmp, qmp->data);
}

static struct call *find_call(struct qmp *qmp, uint64_t id) {
        list_for_each(struct call, call, &qmp->calls, calls)
                if (call->id == id)
                        return call;
        return NULL;
}

static void handle_reply(struct qmp *qmp, json_t *message, json_t *value, int result) {
        json_t *id = json_object_get(message, "id");

        if (!json_is_integer(id))
                return; /* to something that QEMU could not read: none of ours */
        if (json_integer_value(id) == HANDSHAKE_ID) {
                if (qmp->handshake != QMP_NEGOTIATING)
                        return;
                if (result < 0)
                        close_connection(qmp, -EPROTO);
                else
                        become_ready(qmp);
                return;
        }
        struct call *call = find_call(qmp, (uint64_t)json_integer_value(id));
        if (call)
                finish_call(call, result, value);
}

static void handle_message(struct qmp *qmp, json_t *message) {
        static const char capabilities[] = "{\"execute\":\"qmp_capabilities\",\"id\":0}\n";
        const char *event = json_string_value(json_object_get(message, "event"));
        json_t *value;

        if (qmp->handshake == QMP_GREETING) {
                if (!json_object_get(message, "QMP")) {
                        close_connection(qmp, -EPROTO);
                        return;
                }
                qmp->handshake = QMP_NEGOTIATING;
                int r = send_text(qmp, capabilities, sizeof(capabilities) - 1);
                if (r < 0)
                        close_connection(qmp, r);
        } else if (event) {
                qmp->handlers->on_event(qmp, event, json_object_get(message, "data"), qmp->data);
        } else if ((value = json_object_get(message, "return"))) {
                handle_reply(qmp, message, value, 0);
        } else if ((value = json_object_get(message, "error"))) {
                handle_reply(qmp, message, value, -EREMOTEIO);
        }
}

static bool is_open(const struct qmp *qmp) {
        return !qmp->freed && qmp->handshake != QMP_CLOSED;
}

/* Hands out the whole lines of the input. */
static void handle_input(struct qmp *qmp) {
        size_t begin = 0;
        char *newline;

        while (is_open(qmp) &&
               (newline = memchr(qmp->input + qmp->scanned, '\n', qmp->input_size - qmp->scanned))) {
                size_t size = (size_t)(newline - qmp->input) - begin;
                json_t *message = json_loadb(qmp->input + begin, size, 0, NULL);

                begin = qmp->scanned = (size_t)(newline + 1 - qmp->input);
                if (!json_is_object(message)) {
                        json_decref(message);
                        close_connection(qmp, -EPROTO);
                        return;
                }
                handle_message(qmp, message);
                json_decref(message);
                if (is_open(qmp))
                        qmp->handlers->on_life(qmp, qmp->data);
        }
        if (!is_open(qmp))
                return;
        qmp->input_size -= begin;
        memmove(qmp->input, qmp->input + begin, qmp->input_size);
        qmp->scanned = qmp->input_size;
        if (qmp->input_size == 0) {
                /* Rarely long: an idle connection holds no buffer. */
                free(qmp->input);
                qmp->input = NULL;
                qmp->input_room = 0;
        }
}

/* One read and what came of it: 1 where there may be more, 0, or -errno for a connection of no use. */
static int read_some(struct qmp *qmp) {
        if (qmp->input_room - qmp->input_size < READ_SIZE) {
                size_t room = qmp->input_room ? 2 * qmp->input_room : 2 * READ_SIZE;
                if (qmp->input_size >= QMP_LINE_MAX)
                        return -EPROTO;
                char *grown = realloc(qmp->input, room);
                if (!grown)
                        return -ENOMEM;
                qmp->input = grown;
                qmp->input_room = room;
        }
        size_t wanted = qmp->input_room - qmp->input_size;
        ssize_t n = recv(qmp->fd, qmp->input + qmp->input_size, wanted, MSG_DONTWAIT);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n == 0)
                return -ECONNRESET;
        qmp->input_size += (size_t)n;
        handle_input(qmp);
        return (size_t)n == wanted;
}

static int on_socket(struct source *source, int fd, uint32_t events, void *data) {
        struct qmp *qmp = data;
        int r = 0;

        enter(qmp);
        if (events & EPOLLOUT)
                r = flush(qmp);
        if (r >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                r = 1;
                for (int i = 0; i < READS_PER_TURN && r == 1 && is_open(qmp); i++)
                        r = read_some(qmp);
        }
        if (r < 0 && is_open(qmp))
                close_connection(qmp, r);
        leave(qmp);
        return 0;
}

void qmp_drain(struct qmp *qmp) {
        int r = 1;

        enter(qmp);
        while (r == 1 && is_open(qmp))
                r = read_some(qmp);
        if (r < 0 && is_open(qmp))
                close_connection(qmp, r);
        leave(qmp);
}

static void fail_calls(struct qmp *qmp) {
        while (!list_empty(&qmp->calls))
                finish_call(container_of(qmp->calls.next, struct call, calls), -ECONNRESET, NULL);
}

static void close_connection(struct qmp *qmp, int reason) {
        qmp->handshake = QMP_CLOSED;
        qmp->source = source_free(qmp->source);
        qmp->fd = fd_close(qmp->fd);
        fail_calls(qmp);
        if (!qmp->freed)
                qmp->handlers->on_closed(qmp, reason, qmp->data);
}

int qmp_new(struct qmp **ret, struct loop *loop, int consume_fd, const struct qmp_handlers *handlers,
            void *data) {
        _cleanup_fd_ int fd = consume_fd;
        struct qmp *qmp;
        int r;

        r = fd_set_nonblock(fd, true);
        if (r < 0)
                return r;
        qmp = calloc(1, sizeof(*qmp));
        if (!qmp)
                return -ENOMEM;
        qmp->loop = loop;
        qmp->handlers = handlers;
        qmp->data = data;
        qmp->next_id = HANDSHAKE_ID + 1;
        list_init(&qmp->calls);
        r = loop_add_fd(loop, &qmp->source, fd, EPOLLIN, on_socket, qmp);
        if (r < 0) {
                free(qmp);
                return r;
        }
        qmp->fd = steal_fd(&fd);
        *ret = qmp;
        return 0;
}

struct qmp *qmp_free(struct qmp *qmp) {
        if (!qmp)
                return NULL;
        assert(!qmp->freed);
        enter(qmp);
        qmp->freed = true;
        qmp->handshake = QMP_CLOSED;
        qmp->source = source_free(qmp->source);
        fail_calls(qmp);
        leave(qmp);
        return NULL;
}

enum qmp_handshake qmp_get_handshake(const struct qmp *qmp) {
        return qmp->handshake;
}

/* The command as a line: new, or NULL when memory is short. */
static char *make_line(const char *command, json_t *arguments, uint64_t id) {
        json_t *message = arguments ? json_pack("{s:s, s:O, s:I}", "execute", command, "arguments", arguments,
                                                "id", (json_int_t)id)
                                    : json_pack("{s:s, s:I}", "execute", command, "id", (json_int_t)id);
        char *text = json_dumps(message, JSON_COMPACT), *line;

        json_decref(message);
        if (!text)
                return NULL;
        size_t size = strlen(text);
        line = realloc(text, size + 2);
        if (!line) {
                free(text);
                return NULL;
        }
        memcpy(line + size, "\n", 2);
        return line;
}

int qmp_call(struct qmp *qmp, const char *command, json_t *consume_arguments, uint64_t timeout_us,
             qmp_reply_fn fn, void *data) {
        struct call *call = NULL;
        char *line = NULL;
        int r = -ENOMEM;

        if (qmp->handshake == QMP_CLOSED)
                r = -ENOTCONN;
        else if (qmp->n_calls >= QMP_CALLS_MAX)
                r = -ENOBUFS;
        else
                line = make_line(command, consume_arguments, qmp->next_id);
        json_decref(consume_arguments);
        if (line)
                call = calloc(1, sizeof(*call));
        if (call)
                r = loop_add_timer(qmp->loop, &call->deadline, on_deadline, call);
        if (r >= 0 && qmp->handshake == QMP_READY)
                r = send_text(qmp, line, strlen(line));
        if (r < 0) {
                if (call)
                        source_free(call->deadline);
                free(call);
                free(line);
                return r;
        }
        call->qmp = qmp;
        call->id = qmp->next_id++;
        call->fn = fn;
        call->data = data;
        if (qmp->handshake == QMP_READY)
                free(line);
        else
                call->line = line;
        source_arm(call->deadline, timeout_us);
        list_append(&qmp->calls, &call->calls);
        qmp->n_calls++;
        return 0;
}
