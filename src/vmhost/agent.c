#include "vmhost/agent.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "vmhost/endpoint.h"

#define INPUT_MAX 4096 /* bytes of a line; what is longer is none of the two that we wait for */
#define DELIMITER 0xff
#define LINGER 200000 /* microseconds in which a refusal of the shutdown would come */

struct agent {
        int fd;
        struct source *source, *timer;
        int64_t serial;
        bool synced; /* and the order to shut down is sent */
        bool delimited; /* the byte before our answer was seen */
        char input[INPUT_MAX];
        size_t size;
        agent_fn fn;
        void *data;
};

/* The last that is done with an agent here: fn may free it. */
static void finish(struct agent *agent, int result) {
        agent->source = source_free(agent->source);
        source_disarm(agent->timer);
        agent->fn(result, agent->data);
}

static int send_line(struct agent *agent, const char *line, size_t size) {
        ssize_t n = send(agent->fd, line, size, MSG_NOSIGNAL | MSG_DONTWAIT);

        /* A socket that does not take a hundred bytes has a QEMU behind it that reads nothing. */
        return n == (ssize_t)size ? 0 : n < 0 ? -errno : -EAGAIN;
}

/* Whether this line is what we wait for: 1 done, 0 go on, or -errno. */
static int handle_line(struct agent *agent, const char *line, size_t size) {
        static const char shutdown[] =
                "{\"execute\":\"guest-shutdown\",\"arguments\":{\"mode\":\"powerdown\"}}\n";
        json_t *message = json_loadb(line, size, 0, NULL);
        json_t *value = json_object_get(message, "return");
        int r = 0;

        if (agent->synced) {
                r = json_object_get(message, "error") ? -EREMOTEIO : value ? 1 : 0;
        } else if (agent->delimited && json_is_integer(value) && json_integer_value(value) == agent->serial) {
                agent->synced = true;
                r = send_line(agent, shutdown, sizeof(shutdown) - 1);
                if (r == 0)
                        source_arm(agent->timer, LINGER);
        }
        json_decref(message);
        return r;
}

static int handle_byte(struct agent *agent, unsigned char c) {
        if (c == DELIMITER) {
                agent->delimited = true;
                agent->size = 0;
                return 0;
        }
        if (c != '\n') {
                if (agent->size < INPUT_MAX)
                        agent->input[agent->size++] = (char)c;
                return 0;
        }
        size_t size = agent->size;
        agent->size = 0;
        return handle_line(agent, agent->input, size);
}

static int on_socket(struct source *source, int fd, uint32_t events, void *data) {
        struct agent *agent = data;
        char buffer[1024];

        ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        int r = n > 0 ? 0 : n < 0 ? -errno : -ECONNRESET;
        for (ssize_t i = 0; i < n && r == 0; i++)
                r = handle_byte(agent, (unsigned char)buffer[i]);
        if (r != 0)
                finish(agent, r < 0 ? r : 0);
        return 0;
}

static int on_timer(struct source *source, void *data) {
        struct agent *agent = data;

        finish(agent, agent->synced ? 0 : -ETIMEDOUT);
        return 0;
}

int agent_shutdown(struct agent **ret, struct loop *loop, const char *directory, const char *socket,
                   uint64_t timeout_us, agent_fn fn, void *data) {
        struct agent *agent = calloc(1, sizeof(*agent));
        char line[128];
        uint32_t serial;
        int r;

        if (!agent)
                return -ENOMEM;
        agent->fn = fn;
        agent->data = data;
        if (getrandom(&serial, sizeof(serial), 0) != sizeof(serial)) {
                free(agent);
                return -EAGAIN;
        }
        agent->serial = serial;
        agent->fd = r = endpoint_connect(directory, socket);
        if (r >= 0)
                r = loop_add_timer(loop, &agent->timer, on_timer, agent);
        if (r >= 0)
                r = loop_add_fd(loop, &agent->source, agent->fd, EPOLLIN, on_socket, agent);
        if (r >= 0) {
                /* The delimiter before it makes the agent drop half a line of somebody before us. */
                int n = snprintf(line, sizeof(line),
                                 "\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":%lld}}\n",
                                 (long long)agent->serial);
                r = send_line(agent, line, (size_t)n);
        }
        if (r < 0) {
                agent_free(agent);
                return r;
        }
        source_arm(agent->timer, timeout_us);
        *ret = agent;
        return 0;
}

struct agent *agent_free(struct agent *agent) {
        if (!agent)
                return NULL;
        source_free(agent->source);
        source_free(agent->timer);
        fd_close(agent->fd);
        free(agent);
        return NULL;
}
