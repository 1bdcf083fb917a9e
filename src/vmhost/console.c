#include "vmhost/console.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "vmhost/console-log.h"
#include "vmhost/endpoint.h"
#include "vmhost/qemu.h"
#include "vmhost/scrollback.h"

#define CHUNK 8192 /* bytes of one read */
#define VIEWER_QUEUE_MAX (4 * CONSOLE_SCROLLBACK) /* bytes that a viewer may be behind */
#define RECONNECT 200000U /* microseconds */
#define LOOK_EVERY 65536 /* bytes between two looks at the log's size */

struct viewer {
        struct list entry;
        struct console *console;
        int fd;
        struct source *source;
        /* What it has not taken yet. */
        char *queue;
        size_t queue_size;
};

struct console {
        struct loop *loop;
        char *directory, *path;
        int listener;
        struct source *listener_source;
        struct list viewers;
        size_t n_viewers;
        int qemu;
        struct source *qemu_source;
        struct source *retry; /* while QEMU's queue of connections is full */
        struct scrollback *scrollback;
        /* Typed by a viewer, and not yet taken by QEMU; until it is, nobody's further typing is read. */
        char input[CHUNK];
        size_t input_size;
        uint64_t log_max, unlooked; /* bytes; `unlooked` came since the last look */
};

/* ---- Viewers ---- */

static void viewer_free(struct viewer *viewer) {
        list_unlink(&viewer->entry);
        viewer->console->n_viewers--;
        source_free(viewer->source);
        fd_close(viewer->fd);
        free(viewer->queue);
        free(viewer);
}

static void viewer_update(struct viewer *viewer) {
        source_set_events(viewer->source, (viewer->console->input_size == 0 ? EPOLLIN : 0) |
                                                  (viewer->queue_size > 0 ? EPOLLOUT : 0));
}

static void update_viewers(struct console *console) {
        list_for_each(struct viewer, viewer, &console->viewers, entry)
                viewer_update(viewer);
}

/* As much as the viewer takes at once: its number, or -errno. */
static ssize_t viewer_try(struct viewer *viewer, const char *data, size_t size) {
        ssize_t n = send(viewer->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

        return n < 0 ? errno == EAGAIN || errno == EINTR ? 0 : -errno : n;
}

static int viewer_flush(struct viewer *viewer) {
        ssize_t n = viewer_try(viewer, viewer->queue, viewer->queue_size);

        if (n < 0)
                return (int)n;
        viewer->queue_size -= (size_t)n;
        memmove(viewer->queue, viewer->queue + n, viewer->queue_size);
        if (viewer->queue_size == 0) {
                free(viewer->queue);
                viewer->queue = NULL;
        }
        return 0;
}

/* Sends or queues; -ENOBUFS for a viewer that is too far behind. */
static int viewer_send(struct viewer *viewer, const char *data, size_t size) {
        ssize_t n = viewer->queue_size == 0 ? viewer_try(viewer, data, size) : 0;

        if (n < 0)
                return (int)n;
        if ((size_t)n == size)
                return 0;
        data += n;
        size -= (size_t)n;
        if (viewer->queue_size + size > VIEWER_QUEUE_MAX)
                return -ENOBUFS;
        char *longer = realloc(viewer->queue, viewer->queue_size + size);
        if (!longer)
                return -ENOMEM;
        viewer->queue = longer;
        memcpy(longer + viewer->queue_size, data, size);
        viewer->queue_size += size;
        viewer_update(viewer);
        return 0;
}

/* ---- QEMU ---- */

static void disconnect(struct console *console) {
        console->qemu_source = source_free(console->qemu_source);
        console->qemu = fd_close(console->qemu);
        console->input_size = 0;
        update_viewers(console);
}

/* Types what waits, as far as QEMU takes it. */
static void flush_input(struct console *console) {
        ssize_t n = send(console->qemu, console->input, console->input_size, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno != EAGAIN && errno != EINTR) {
                disconnect(console);
                return;
        }
        if (n > 0) {
                console->input_size -= (size_t)n;
                memmove(console->input, console->input + n, console->input_size);
        }
        source_set_events(console->qemu_source, EPOLLIN | (console->input_size > 0 ? EPOLLOUT : 0));
        update_viewers(console);
}

static void look_at_log(struct console *console) {
        console->unlooked = 0;
        if (console_log_size(console->directory) <= console->log_max)
                return;
        int r = console_log_rotate(console->directory, 2 * console->log_max);
        if (r < 0)
                log_warning("cannot shorten the console's log: %s", strerror(-r));
}

static void spread(struct console *console, const char *data, size_t size) {
        scrollback_add(console->scrollback, data, size);
        list_for_each(struct viewer, viewer, &console->viewers, entry)
                if (viewer_send(viewer, data, size) < 0)
                        viewer_free(viewer);
        console->unlooked += size;
        if (console->unlooked >= LOOK_EVERY || console->unlooked >= console->log_max)
                look_at_log(console);
}

static int on_qemu(struct source *source, int fd, uint32_t events, void *data) {
        struct console *console = data;
        char chunk[CHUNK];

        if (events & EPOLLOUT)
                flush_input(console);
        if (console->qemu < 0)
                return 0;
        ssize_t n = recv(console->qemu, chunk, sizeof(chunk), MSG_DONTWAIT);
        if (n > 0)
                spread(console, chunk, (size_t)n);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
                disconnect(console);
        return 0;
}

static int try_connect(struct console *console, struct error *error) {
        char *end = malloc(CONSOLE_SCROLLBACK);

        disconnect(console);
        if (!end)
                return error_set(error, -ENOMEM, "out of memory");
        /* Of a run that is adopted, what was printed while nobody listened is in the log alone. */
        size_t n = console_log_end(console->directory, end, CONSOLE_SCROLLBACK);
        scrollback_set(console->scrollback, end, n);
        free(end);

        console->qemu = endpoint_connect(console->directory, QEMU_CONSOLE_SOCKET);
        if (console->qemu < 0) {
                int r = console->qemu;
                console->qemu = -1;
                return error_errno(error, r, "cannot connect to the console");
        }
        int r = loop_add_fd(console->loop, &console->qemu_source, console->qemu, EPOLLIN, on_qemu, console);
        if (r < 0) {
                console->qemu = fd_close(console->qemu);
                return error_errno(error, r, "cannot watch the console");
        }
        look_at_log(console);
        return 0;
}

static int on_retry(struct source *source, void *data) {
        struct console *console = data;
        struct error error = ERROR_INIT;
        int r = try_connect(console, &error);

        if (r == -EAGAIN)
                source_arm(source, RECONNECT);
        else if (r < 0 && r != -ENOENT && r != -ECONNREFUSED) /* these two: it has ended */
                log_warning("%s", error_text(&error, r));
        return 0;
}

int console_connect(struct console *console, struct error *error) {
        source_disarm(console->retry);
        int r = try_connect(console, error);
        if (r != -EAGAIN)
                return r;
        log_warning("QEMU takes no connection to its console now; it is tried again");
        source_arm(console->retry, RECONNECT);
        return 0;
}

/* ---- Attaching ---- */

static int on_viewer(struct source *source, int fd, uint32_t events, void *data) {
        struct viewer *viewer = data;
        struct console *console = viewer->console;
        char typed[CHUNK];

        if ((events & EPOLLOUT) && viewer->queue_size > 0) {
                if (viewer_flush(viewer) < 0) {
                        viewer_free(viewer);
                        return 0;
                }
                viewer_update(viewer);
        }
        if (console->input_size > 0 && !(events & (EPOLLHUP | EPOLLERR)))
                return 0;
        ssize_t n = recv(fd, typed, sizeof(typed), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0) {
                viewer_free(viewer);
                return 0;
        }
        /* Between two runs there is nobody to type to; and a viewer that has gone types no more. */
        if (console->qemu >= 0 && console->input_size == 0) {
                memcpy(console->input, typed, (size_t)n);
                console->input_size = (size_t)n;
                flush_input(console);
        }
        return 0;
}

static void attach(struct console *console, int consume_fd) {
        struct viewer *viewer = calloc(1, sizeof(*viewer));

        if (!viewer) {
                fd_close(consume_fd);
                return;
        }
        *viewer = (struct viewer){ .console = console, .fd = consume_fd };
        list_append(&console->viewers, &viewer->entry);
        console->n_viewers++;
        size_t size;
        _cleanup_free_ char *past = scrollback_copy(console->scrollback, &size);
        if (!past ||
            loop_add_fd(console->loop, &viewer->source, viewer->fd, EPOLLIN, on_viewer, viewer) < 0 ||
            viewer_send(viewer, past, size) < 0)
                viewer_free(viewer);
        else
                viewer_update(viewer);
}

static int on_listener(struct source *source, int fd, uint32_t events, void *data) {
        struct console *console = data;
        int viewer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (viewer >= 0 && console->n_viewers >= CONSOLE_VIEWERS_MAX)
                fd_close(viewer);
        else if (viewer >= 0)
                attach(console, viewer);
        return 0;
}

/* ---- Life ---- */

int console_new(struct console **ret, struct loop *loop, const char *directory, uint64_t log_max,
                struct error *error) {
        _cleanup_(console_freep) struct console *console = calloc(1, sizeof(*console));

        if (!console)
                return error_set(error, -ENOMEM, "out of memory");
        *console = (struct console){ .loop = loop, .listener = -1, .qemu = -1, .log_max = log_max };
        list_init(&console->viewers);
        console->directory = strdup(directory);
        console->path = text_format("%s/" CONSOLE_SOCKET, directory);
        if (!console->directory || !console->path ||
            scrollback_new(&console->scrollback, CONSOLE_SCROLLBACK) < 0)
                return error_set(error, -ENOMEM, "out of memory");
        unlink(console->path);
        console->listener = fd_listen_unix(console->path, 0600);
        if (console->listener < 0) {
                int r = console->listener;
                return error_errno(error, r, "cannot listen at %s", console->path);
        }
        int r = loop_add_timer(loop, &console->retry, on_retry, console);
        if (r >= 0)
                r = loop_add_fd(loop, &console->listener_source, console->listener, EPOLLIN, on_listener,
                                console);
        if (r < 0)
                return error_errno(error, r, "cannot watch %s", console->path);
        *ret = steal_ptr(console);
        return 0;
}

struct console *console_free(struct console *console) {
        if (!console)
                return NULL;
        if (console->listener >= 0)
                unlink(console->path);
        list_for_each(struct viewer, viewer, &console->viewers, entry)
                viewer_free(viewer);
        disconnect(console);
        source_free(console->retry);
        source_free(console->listener_source);
        fd_close(console->listener);
        scrollback_free(console->scrollback);
        free(console->directory);
        free(console->path);
        free(console);
        return NULL;
}

void console_freep(struct console **console) {
        *console = console_free(*console);
}
