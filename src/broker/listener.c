#include "broker/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"

#define ACCEPTS_PER_TURN 32
#define EXHAUSTED_PAUSE 100000 /* microseconds without accepting when there is no fd left */

struct listener {
        struct loop *loop;
        char *path; /* NULL: activated */
        mode_t mode;
        int fd;
        dev_t device; /* of the socket file as it was made */
        ino_t inode;
        bool accepting;
        struct source *source;
        struct source *pause;
        listener_fn fn;
        void *data;
};

static int on_pause(struct source *source, void *data) {
        struct listener *listener = data;

        if (listener->source)
                source_set_events(listener->source, EPOLLIN);
        return 0;
}

static bool is_exhausted(int error) {
        return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static int on_connection(struct source *source, int fd, uint32_t events, void *data) {
        struct listener *listener = data;

        for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
                int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (connection >= 0) {
                        fd_refuse_rights(connection); /* one that came before the listener said so */
                        listener->fn(listener->data, connection);
                        continue;
                }
                if (is_exhausted(errno)) {
                        log_warning("cannot accept a connection: %s", strerror(errno));
                        source_set_events(source, 0);
                        source_arm(listener->pause, EXHAUSTED_PAUSE);
                }
                return 0; /* nobody more, or one that has gone already */
        }
        return 0;
}

static int watch(struct listener *listener) {
        return loop_add_fd(listener->loop, &listener->source, listener->fd, EPOLLIN, on_connection, listener);
}

int listener_new(struct listener **ret, struct loop *loop, const char *path, mode_t mode, listener_fn fn,
                 void *data) {
        struct listener *listener = calloc(1, sizeof(*listener));

        if (!listener)
                return -ENOMEM;
        listener->fd = -1;
        listener->loop = loop;
        listener->mode = mode;
        listener->fn = fn;
        listener->data = data;
        listener->path = path ? strdup(path) : NULL;
        if ((path && !listener->path) || loop_add_timer(loop, &listener->pause, on_pause, listener) < 0) {
                listener_free(listener);
                return -ENOMEM;
        }
        *ret = listener;
        return 0;
}

int listener_new_activated(struct listener **ret, struct loop *loop, int consume_fd, listener_fn fn,
                           void *data) {
        _cleanup_fd_ int fd = consume_fd;

        int r = fd_set_nonblock(fd, true);
        if (r < 0)
                return r;
        fd_refuse_rights(fd);
        r = listener_new(ret, loop, NULL, 0, fn, data);
        if (r < 0)
                return r;
        (*ret)->fd = steal_fd(&fd);
        return 0;
}

static void unlink_own(const struct listener *listener) {
        struct stat status;

        if (lstat(listener->path, &status) == 0 && status.st_dev == listener->device &&
            status.st_ino == listener->inode)
                unlink(listener->path);
}

struct listener *listener_free(struct listener *listener) {
        if (!listener)
                return NULL;
        if (listener->path && listener->fd >= 0)
                unlink_own(listener);
        source_free(listener->source);
        source_free(listener->pause);
        fd_close(listener->fd);
        free(listener->path);
        free(listener);
        return NULL;
}

/* Makes room for the socket: 0, or -errno where something is there that is not to be replaced. */
static int remove_stale(const char *path, struct error *error) {
        struct stat status;

        if (lstat(path, &status) < 0)
                return errno == ENOENT ? 0 : error_errno(error, -errno, "%s", path);
        if (!S_ISSOCK(status.st_mode))
                return error_set(error, -EEXIST, "%s is there and is no socket", path);

        _cleanup_fd_ int fd = fd_connect_unix(path);
        if (fd >= 0)
                return error_set(error, -EADDRINUSE, "another program listens on %s", path);
        if (fd != -ECONNREFUSED)
                return error_errno(error, fd, "cannot tell whether anybody listens on %s", path);
        if (unlink(path) < 0 && errno != ENOENT)
                return error_errno(error, -errno, "cannot remove the stale socket %s", path);
        return 0;
}

int listener_open(struct listener *listener, struct error *error) {
        struct stat status;
        int r;

        if (!listener->path)
                return 0;
        r = remove_stale(listener->path, error);
        if (r < 0)
                return r;
        listener->fd = fd_listen_unix(listener->path, listener->mode);
        if (listener->fd < 0)
                return error_errno(error, listener->fd, "cannot listen on %s", listener->path);
        fd_refuse_rights(listener->fd);
        if (lstat(listener->path, &status) < 0)
                return error_errno(error, -errno, "%s", listener->path);
        listener->device = status.st_dev;
        listener->inode = status.st_ino;
        return listener->accepting ? watch(listener) : 0;
}

int listener_accept(struct listener *listener) {
        listener->accepting = true;
        return watch(listener);
}

unsigned listener_close(struct listener *listener) {
        unsigned n = 0;

        /* The manager's socket keeps its queue, and the next broker that it starts finds it. */
        if (!listener->path)
                return 0;

        /* After the shutdown a connect is refused, and what was queued before can still be accepted: the
         * kernel does both under the socket's lock (unix_stream_connect, unix_accept). So there is no moment
         * between. */
        unlink_own(listener);
        shutdown(listener->fd, SHUT_RDWR);
        for (;;) {
                int connection = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (connection < 0)
                        break;
                listener->fn(listener->data, connection);
                n++;
        }
        source_disarm(listener->pause);
        listener->source = source_free(listener->source);
        listener->fd = fd_close(listener->fd);
        return n;
}
