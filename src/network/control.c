#include "network/control.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

struct control {
        struct control_context context;
        int listener;
        struct source *listener_source;
        struct wire *wire; /* NULL: no broker */
        struct source *source;
};

static void drop(struct control *control) {
        control->source = source_free(control->source);
        /* It sees the end at once; what it passed on may take its time to be closed. */
        if (control->wire)
                shutdown(wire_fd(control->wire), SHUT_RDWR);
        control->wire = wire_free(control->wire);
}

static int on_broker(struct source *source, int fd, uint32_t events, void *data) {
        struct control *control = data;
        int r = 0;

        if (events & EPOLLOUT)
                r = wire_flush(control->wire);
        if (r >= 0 && (events & EPOLLOUT) && !wire_has_output(control->wire))
                control->context.drained(control->context.data);

        while (r >= 0 && control->wire) {
                struct wire_message message = WIRE_MESSAGE_INIT;
                struct error error = ERROR_INIT;

                int result = wire_receive(control->wire, &message, &error);
                if (result == WIRE_AGAIN)
                        break;
                r = result == WIRE_MESSAGE ? control->context.message(control->context.data, &message) : -ECONNRESET;
                wire_message_deinit(&message);
        }
        if (r < 0)
                drop(control);
        if (control->wire)
                source_set_events(control->source, EPOLLIN | (wire_has_output(control->wire) ? EPOLLOUT : 0));
        return 0;
}

int control_take(struct control *control, struct wire *consume_wire) {
        drop(control);
        control->wire = consume_wire;
        wire_set_care(control->wire, WIRE_CARRIER, WIRE_FDS_MAX);
        int r = loop_add_fd(control->context.loop, &control->source, wire_fd(consume_wire), EPOLLIN, on_broker, control);
        if (r < 0)
                drop(control);
        return r;
}

/* Only our own user is our broker. Both uids are seen from our user namespace, in which all others are one. */
static bool is_broker(int fd) {
        struct ucred peer;
        socklen_t size = sizeof(peer);

        return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

static int on_listener(struct source *source, int fd, uint32_t events, void *data) {
        struct control *control = data;
        struct wire *wire = NULL;

        _cleanup_fd_ int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (client < 0)
                return 0;
        if (!is_broker(client)) {
                log_warning("a connection of another user to the control socket was closed");
                return 0;
        }
        if (wire_new(&wire, steal_fd(&client)) >= 0 && control_take(control, wire) >= 0)
                control->context.arrived(control->context.data);
        return 0;
}

int control_new(struct control **ret, const struct control_context *context, struct error *error) {
        struct control *control = calloc(1, sizeof(*control));
        if (!control)
                return -ENOMEM;

        control->context = *context;
        /* The broker sees to it that one process runs for a network: what lies there is left by one that died. */
        if (unlink(context->path) < 0 && errno != ENOENT)
                log_warning("removing the stale %s failed", context->path);
        int r = control->listener = fd_listen_unix(context->path, 0600);
        if (r >= 0)
                r = loop_add_fd(context->loop, &control->listener_source, control->listener, EPOLLIN, on_listener,
                                control);
        if (r < 0) {
                control_free(control);
                return error_errno(error, r, "listening on %s", context->path);
        }
        *ret = control;
        return 0;
}

struct control *control_free(struct control *control) {
        if (!control)
                return NULL;
        /* First, for once the broker sees our end it may begin another network in the same place. */
        if (control->listener >= 0)
                unlink(control->context.path);
        drop(control);
        source_free(control->listener_source);
        fd_close(control->listener);
        free(control);
        return NULL;
}

void control_send(struct control *control, json_t *consume_body, const int *fds, size_t n_fds) {
        if (control->wire && consume_body) {
                int r = wire_send(control->wire, consume_body, fds, n_fds);
                if (r == -EMSGSIZE)
                        log_error("a message to the broker is longer than a line may be, and is not sent");
                else if (r < 0) {
                        log_warning("the broker cannot be reached any more");
                        drop(control);
                } else if (wire_has_output(control->wire))
                        source_set_events(control->source, EPOLLIN | EPOLLOUT);
        }
        json_decref(consume_body);
}

bool control_congested(const struct control *control) {
        return !control->wire || wire_has_output(control->wire);
}

bool control_connected(const struct control *control) {
        return control->wire != NULL;
}
