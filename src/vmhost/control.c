#include "vmhost/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "vmhost/client.h"

#define ACCEPTS_PER_TURN 32
#define EXHAUSTED_PAUSE 100000 /* microseconds without accepting when there is no fd left */

struct control {
        int fd;
        struct source *source;
        struct source *pause;
        struct client_owner owner;
};

static int on_pause(struct source *source, void *data) {
        struct control *control = data;

        return source_set_events(control->source, EPOLLIN);
}

static void turn_out_oldest(struct control *control) {
        struct client *oldest = client_find_oldest(&control->owner);

        if (oldest)
                client_turn_out(oldest, "too many connections");
}

static int on_connection(struct source *source, int fd, uint32_t events, void *data) {
        struct control *control = data;

        for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
                int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (connection >= 0) {
                        if (control->owner.n_reading >= CONTROL_READING_MAX)
                                turn_out_oldest(control);
                        client_new(&control->owner, connection);
                        continue;
                }
                if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                        log_warning("cannot accept a control connection: %s", strerror(errno));
                        source_set_events(source, 0);
                        source_arm(control->pause, EXHAUSTED_PAUSE);
                }
                return 0;
        }
        return 0;
}

int control_new(struct control **ret, struct loop *loop, int consume_listening_fd,
                struct supervisor *supervisor) {
        struct control *control = calloc(1, sizeof(*control));
        int r;

        if (!control) {
                fd_close(consume_listening_fd);
                return -ENOMEM;
        }
        control->fd = consume_listening_fd;
        control->owner.loop = loop;
        control->owner.supervisor = supervisor;
        control->owner.staying_max = CONTROL_STAYING_MAX;
        list_init(&control->owner.clients);
        r = loop_add_timer(loop, &control->pause, on_pause, control);
        if (r >= 0)
                r = loop_add_fd(loop, &control->source, control->fd, EPOLLIN, on_connection, control);
        if (r < 0) {
                control_free(control);
                return r;
        }
        *ret = control;
        return 0;
}

struct control *control_free(struct control *control) {
        if (!control)
                return NULL;
        clients_free(&control->owner);
        source_free(control->source);
        source_free(control->pause);
        fd_close(control->fd);
        free(control);
        return NULL;
}

int control_move(struct control *control, int consume_listening_fd) {
        struct source *source;
        int r = loop_add_fd(control->owner.loop, &source, consume_listening_fd, EPOLLIN, on_connection,
                            control);

        if (r < 0) {
                fd_close(consume_listening_fd);
                return r;
        }
        on_connection(control->source, control->fd, EPOLLIN, control);
        source_free(control->source);
        fd_close(control->fd);
        control->source = source;
        control->fd = consume_listening_fd;
        return 0;
}

void control_send_event(struct control *control, const json_t *event) {
        clients_send_event(&control->owner, event);
}

void control_finish(struct control *control) {
        clients_finish(&control->owner);
}
