#include "network/watch.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"

struct watch {
        int socket;
        struct source *source, *timer;
        bool armed;
        uint64_t delay;
        void (*fn)(void *data);
        void *data;
};

static int on_timer(struct source *source, void *data) {
        struct watch *watch = data;

        watch->armed = false;
        watch->fn(watch->data);
        return 0;
}

static int on_message(struct source *source, int fd, uint32_t events, void *data) {
        struct watch *watch = data;
        char buffer[8192];

        while (recv(fd, buffer, sizeof(buffer), 0) >= 0 || errno == ENOBUFS)
                ;
        if (watch->delay == 0)
                watch->fn(watch->data);
        else if (!watch->armed) {
                watch->armed = true;
                source_arm(watch->timer, watch->delay);
        }
        return 0;
}

int watch_new(struct watch **ret, struct loop *loop, int consume_socket, unsigned groups, uint64_t delay,
              void (*fn)(void *data), void *data, struct error *error) {
        struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = groups };

        struct watch *watch = calloc(1, sizeof(*watch));
        if (!watch) {
                fd_close(consume_socket);
                return -ENOMEM;
        }
        *watch = (struct watch){ .socket = consume_socket, .delay = delay, .fn = fn, .data = data };

        int r = 0;
        if (consume_socket < 0)
                r = consume_socket;
        else if (bind(watch->socket, (struct sockaddr *)&address, sizeof(address)) < 0)
                r = -errno;
        if (r >= 0)
                r = fd_set_nonblock(watch->socket, true);
        if (r >= 0)
                r = loop_add_timer(loop, &watch->timer, on_timer, watch);
        if (r >= 0)
                r = loop_add_fd(loop, &watch->source, watch->socket, EPOLLIN, on_message, watch);
        if (r < 0) {
                watch_free(watch);
                return error_errno(error, r, "watching for changes of devices, addresses, routes and rules");
        }
        *ret = watch;
        return 0;
}

struct watch *watch_free(struct watch *watch) {
        if (!watch)
                return NULL;
        source_free(watch->source);
        source_free(watch->timer);
        fd_close(watch->socket);
        free(watch);
        return NULL;
}
