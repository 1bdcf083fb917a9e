#include "wire/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/memory.h"
#include "wire/rights.h"
#include "wire/wire.h"

/* A waiting fd costs the kernel more than its line costs us: each counts as this many bytes of
 * WIRE_QUEUE_MAX, which bounds them to some 250. */
#define FD_COST 4096

/* A line, or the rest of one, that the socket did not take. */
struct line {
        struct list lines;
        size_t size, sent;
        int fds[WIRE_FDS_MAX]; /* owned, for the first byte: none once sent > 0 */
        size_t n_fds;
        char data[];
};

void outbox_init(struct outbox *outbox) {
        *outbox = (struct outbox){};
        list_init(&outbox->lines);
}

static void line_free(const struct outbox *outbox, struct line *line) {
        list_unlink(&line->lines);
        rights_close(line->fds, line->n_fds, outbox->foreign);
        free(line);
}

void outbox_deinit(struct outbox *outbox) {
        list_for_each(struct line, line, &outbox->lines, lines)
                line_free(outbox, line);
}

static size_t line_cost(const struct line *line) {
        return sizeof(*line) + line->size + line->n_fds * FD_COST;
}

/* Keeps what is left of a line of `size` bytes, newline included, behind its first `sent` ones; duplicates
 * the descriptors while they are still to go. */
static int enqueue(struct outbox *outbox, const char *text, size_t size, size_t sent, const int *fds,
                   size_t n_fds) {
        struct line *line = malloc(sizeof(*line) + size);

        if (!line)
                return -ENOMEM;
        *line = (struct line){ .size = size, .sent = sent };
        list_init(&line->lines);
        memcpy(line->data, text, size - 1);
        line->data[size - 1] = '\n';

        while (sent == 0 && line->n_fds < n_fds) {
                int copy = fd_dup(fds[line->n_fds]);

                if (copy < 0) {
                        line_free(outbox, line);
                        return copy;
                }
                line->fds[line->n_fds++] = copy;
        }
        if (outbox->cost + line_cost(line) > WIRE_QUEUE_MAX) {
                line_free(outbox, line);
                return -ENOBUFS;
        }
        outbox->cost += line_cost(line);
        list_append(&outbox->lines, &line->lines);
        return 0;
}

bool outbox_is_empty(const struct outbox *outbox) {
        return list_empty(&outbox->lines);
}

int outbox_flush(struct outbox *outbox, int socket) {
        list_for_each(struct line, line, &outbox->lines, lines) {
                struct iovec vector = { .iov_base = line->data + line->sent,
                                        .iov_len = line->size - line->sent };
                ssize_t n = rights_send(socket, &vector, 1, line->fds, line->n_fds);

                if (n <= 0)
                        return (int)n;
                outbox->cost -= line_cost(line);
                rights_close(line->fds, line->n_fds, outbox->foreign);
                line->n_fds = 0;
                line->sent += (size_t)n;
                if (line->sent < line->size) {
                        outbox->cost += line_cost(line);
                        return 0;
                }
                line_free(outbox, line);
        }
        return 0;
}

int outbox_send(struct outbox *outbox, int socket, const char *text, const int *fds, size_t n_fds) {
        size_t size = strlen(text) + 1; /* with its newline */
        ssize_t n = 0;

        int r = outbox_flush(outbox, socket);
        if (r < 0)
                return r;
        if (outbox_is_empty(outbox)) {
                struct iovec vectors[] = {
                        { .iov_base = (char *)text, .iov_len = size - 1 },
                        { .iov_base = (char[]){ '\n' }, .iov_len = 1 },
                };

                n = rights_send(socket, vectors, ARRAY_SIZE(vectors), fds, n_fds);
                if (n < 0)
                        return (int)n;
        }
        return (size_t)n < size ? enqueue(outbox, text, size, (size_t)n, fds, n_fds) : 0;
}
