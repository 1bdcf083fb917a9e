/* The wire: one JSON object per line, with file descriptors, over a Unix stream socket. */
#include "wire/wire.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/memory.h"
#include "wire/outbox.h"
#include "wire/rights.h"
#include "wire/stranger.h"

#define READ_SIZE 16384

/* What came with a line whose end has not been handed out yet. */
struct carried {
        uint64_t line; /* the stream's offset at which that line begins */
        int fds[WIRE_FDS_MAX];
        size_t n_fds;
        bool refused; /* too many, the wrong ones, or the kernel could not give them to us */
};

struct wire {
        int fd;
        enum wire_care care;
        size_t fds_max;

        /* Input not handed out yet: buffer[begin..end), of which the first `scanned` bytes hold no newline.
         * No buffer is held while there is none, so an idle connection is small. */
        char *buffer;
        size_t begin, end, room;
        size_t scanned;
        uint64_t offset; /* of buffer[begin] in the stream */
        /* One read brings descriptors for one line, and happens only when no whole line is left: so there are
         * at most those of the half line that is left and those of a line that begins behind it. */
        struct carried carried[2];
        size_t n_carried;
        const char *lost; /* why the framing is lost, for good; NULL while it is not */

        struct outbox outbox;
        int broken; /* the first failure to send, for good */
};

static bool is_foreign(const struct wire *wire) {
        return wire->care != WIRE_OWN;
}

void wire_message_deinit(struct wire_message *message) {
        rights_close(message->fds, message->n_fds, message->foreign);
        message->n_fds = 0;
        json_decref(message->body);
        message->body = NULL;
}

int wire_message_take_fd(struct wire_message *message, size_t i) {
        return i < message->n_fds ? steal_fd(&message->fds[i]) : -1;
}

int wire_new(struct wire **ret, int consume_fd) {
        _cleanup_fd_ int fd = consume_fd;
        struct wire *wire;
        int r;

        r = fd_set_nonblock(fd, true);
        if (r < 0)
                return r;
        wire = calloc(1, sizeof(*wire));
        if (!wire)
                return -ENOMEM;
        wire->fd = steal_fd(&fd);
        wire->fds_max = WIRE_FDS_MAX;
        outbox_init(&wire->outbox);
        *ret = wire;
        return 0;
}

void wire_set_care(struct wire *wire, enum wire_care care, size_t fds_max) {
        assert(fds_max <= WIRE_FDS_MAX);
        wire->care = care;
        wire->fds_max = fds_max;
        wire->outbox.foreign = is_foreign(wire);
}

static void drop_input(struct wire *wire) {
        for (size_t i = 0; i < wire->n_carried; i++)
                rights_close(wire->carried[i].fds, wire->carried[i].n_fds, is_foreign(wire));
        wire->n_carried = 0;
        free(wire->buffer);
        wire->buffer = NULL;
        wire->begin = wire->end = wire->room = wire->scanned = 0;
}

struct wire *wire_free(struct wire *wire) {
        if (!wire)
                return NULL;
        outbox_deinit(&wire->outbox);
        drop_input(wire);
        rights_close(&wire->fd, 1, is_foreign(wire));
        free(wire);
        return NULL;
}

void wire_freep(struct wire **wire) {
        *wire = wire_free(*wire);
}

int wire_fd(const struct wire *wire) {
        return wire->fd;
}

/* --- Receiving --- */

/* Where the first line of the buffer ends, or NULL. */
static char *find_newline(const struct wire *wire) {
        if (wire->end - wire->begin == wire->scanned)
                return NULL;
        return memchr(wire->buffer + wire->begin + wire->scanned, '\n',
                      wire->end - wire->begin - wire->scanned);
}

bool wire_has_input(const struct wire *wire) {
        return find_newline(wire) != NULL;
}

static int lose(struct wire *wire, const char *why, struct error *error) {
        drop_input(wire);
        wire->lost = why;
        error_set(error, -EPROTO, "%s", why);
        return WIRE_TOO_LONG;
}

/* Drops the first `size` bytes of input. */
static void consume(struct wire *wire, size_t size) {
        wire->begin += size;
        wire->offset += size;
        wire->scanned = 0;
        if (wire->begin == wire->end) {
                free(wire->buffer);
                wire->buffer = NULL;
                wire->begin = wire->end = wire->room = 0;
        }
}

/* Moves the descriptors of the line that begins the buffer, if it has any, into *ret. */
static bool take_carried(struct wire *wire, struct carried *ret) {
        if (wire->n_carried == 0 || wire->carried[0].line != wire->offset)
                return false;
        *ret = wire->carried[0];
        wire->carried[0] = wire->carried[1];
        wire->n_carried--;
        return true;
}

static void explain_refusal(const struct wire *wire, struct error *error) {
        if (wire->fds_max == 0)
                error_set(error, -EPROTO, "no file descriptors are taken here");
        else if (wire->care == WIRE_STRANGER)
                error_set(error, -EPROTO, "more file descriptors than %zu, or one that is no internet socket",
                          wire->fds_max);
        else
                error_set(error, -EPROTO, "more than %zu file descriptors, or more than this process may open",
                          wire->fds_max);
}

static int parse_line(const struct wire *wire, const char *line, size_t size, const struct carried *carried,
                      json_t **ret, struct error *error) {
        json_error_t reason;
        json_t *body;

        if (carried->refused && wire->care != WIRE_CARRIER) {
                explain_refusal(wire, error);
                return WIRE_MALFORMED;
        }
        body = json_loadb(line, size, JSON_REJECT_DUPLICATES, &reason);
        if (!body && json_error_code(&reason) == json_error_out_of_memory)
                return error_set(error, -ENOMEM, "out of memory");
        if (!body) {
                error_set(error, -EINVAL, "not JSON: %s", reason.text);
                return WIRE_MALFORMED;
        }
        if (!json_is_object(body)) {
                json_decref(body);
                error_set(error, -EINVAL, "not a JSON object");
                return WIRE_MALFORMED;
        }
        *ret = body;
        return WIRE_MESSAGE;
}

/* Hands out the first line of the buffer, if there is a whole one. */
static int next_line(struct wire *wire, struct wire_message *ret, struct error *error) {
        struct carried carried = {};
        char *newline = find_newline(wire);
        size_t size;
        json_t *body = NULL;
        int r;

        size = newline ? (size_t)(newline - (wire->buffer + wire->begin)) + 1 : wire->end - wire->begin;
        /* Without its newline, a line of just the limit is too long already. */
        if (size > WIRE_LINE_MAX || (!newline && size == WIRE_LINE_MAX))
                return lose(wire, "a line of more than 65536 bytes", error);
        if (!newline) {
                wire->scanned = size;
                return WIRE_AGAIN;
        }

        take_carried(wire, &carried);
        if (carried.refused) {
                rights_close(carried.fds, carried.n_fds, is_foreign(wire));
                carried.n_fds = 0;
        }
        r = parse_line(wire, wire->buffer + wire->begin, size - 1, &carried, &body, error);
        consume(wire, size);
        if (r != WIRE_MESSAGE) {
                rights_close(carried.fds, carried.n_fds, is_foreign(wire));
                return r;
        }
        *ret = WIRE_MESSAGE_INIT;
        ret->body = body;
        ret->lost = carried.refused;
        ret->foreign = is_foreign(wire);
        ret->n_fds = carried.n_fds;
        memcpy(ret->fds, carried.fds, carried.n_fds * sizeof(int));
        return r;
}

/* Finds the line that descriptors belong to: the last that begins in this read. False when none does. */
static bool attribute(struct wire *wire, struct carried *carried, const char *data, size_t size) {
        size_t held = wire->end - wire->begin;
        /* The last byte cannot begin a line behind it. */
        const char *newline = memrchr(data, '\n', size - 1);

        if (!newline && held > 0)
                return false;
        carried->line = wire->offset + held + (newline ? (size_t)(newline - data) + 1 : 0);
        return true;
}

static int append(struct wire *wire, const char *data, size_t size) {
        size_t held = wire->end - wire->begin;

        if (wire->end + size > wire->room) {
                /* Twice what is needed now: one who sends byte by byte must not make us copy each time. */
                size_t room = 2 * (held + size);
                char *grown = malloc(room);

                if (!grown)
                        return -ENOMEM;
                if (held > 0)
                        memcpy(grown, wire->buffer + wire->begin, held);
                free(wire->buffer);
                wire->buffer = grown;
                wire->begin = 0;
                wire->end = held;
                wire->room = room;
        }
        memcpy(wire->buffer + wire->end, data, size);
        wire->end += size;
        return 0;
}

/* WIRE_MESSAGE when something came, or another result. */
static int read_socket(struct wire *wire, struct error *error) {
        struct carried carried = {};
        char data[READ_SIZE];
        ssize_t n;

        if (wire->care == WIRE_STRANGER)
                n = stranger_receive(wire->fd, data, sizeof(data), carried.fds, wire->fds_max, &carried.n_fds,
                                     &carried.refused);
        else
                n = rights_receive(wire->fd, data, sizeof(data), carried.fds, wire->fds_max, &carried.n_fds,
                                   &carried.refused, is_foreign(wire));
        if (n == -EAGAIN)
                return WIRE_AGAIN;
        if (n < 0)
                return error_errno(error, (int)n, "cannot read from the connection");
        if (n == 0) {
                rights_close(carried.fds, carried.n_fds, is_foreign(wire));
                return WIRE_END;
        }
        if (carried.n_fds > 0 || carried.refused) {
                if (!attribute(wire, &carried, data, (size_t)n)) {
                        rights_close(carried.fds, carried.n_fds, is_foreign(wire));
                        return lose(wire, "file descriptors in the middle of a line", error);
                }
                assert(wire->n_carried < ARRAY_SIZE(wire->carried));
                wire->carried[wire->n_carried++] = carried;
        }
        if (append(wire, data, (size_t)n) < 0)
                return error_set(error, -ENOMEM, "out of memory");
        return WIRE_MESSAGE;
}

int wire_receive(struct wire *wire, struct wire_message *ret, struct error *error) {
        int r;

        if (wire->lost)
                return lose(wire, wire->lost, error);
        r = next_line(wire, ret, error);
        if (r != WIRE_AGAIN)
                return r;
        r = read_socket(wire, error);
        if (r != WIRE_MESSAGE)
                return r;
        return next_line(wire, ret, error);
}

/* --- Sending --- */

bool wire_has_output(const struct wire *wire) {
        return !outbox_is_empty(&wire->outbox);
}

int wire_flush(struct wire *wire) {
        if (wire->broken == 0)
                wire->broken = outbox_flush(&wire->outbox, wire->fd);
        return wire->broken;
}

int wire_send(struct wire *wire, json_t *body, const int *fds, size_t n_fds) {
        _cleanup_free_ char *line = NULL;

        if (n_fds > WIRE_FDS_MAX || !json_is_object(body))
                return -EINVAL;
        line = json_dumps(body, JSON_COMPACT);
        if (!line)
                return -ENOMEM;
        if (strlen(line) + 1 > WIRE_LINE_MAX)
                return -EMSGSIZE;
        if (wire->broken == 0)
                wire->broken = outbox_send(&wire->outbox, wire->fd, line, fds, n_fds);
        return wire->broken;
}
