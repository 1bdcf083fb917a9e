/* Channels: one request on a VM's control socket and the lines that come back. */
#include "cli/vm-channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "cli/view.h"
#include "cli/vm-clock.h"
#include "cli/vm-directory.h"

#define READ_SIZE 16384

struct vm_channel {
        int fd;
        char *buffer;
        size_t used, size;
        int end; /* why no more will come, or 0 */
        bool watches; /* and nothing has come yet: the first line may refuse it */
        char *refusal;
};

int vm_connect(const char *directory, const char *socket_name) {
        _cleanup_fd_ int folder = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int n;

        if (folder < 0)
                return -errno;
        /* sun_path has 108 bytes, folders of users are deeper. */
        n = snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", folder, socket_name);
        if ((size_t)n >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* A Unix socket connects at once or, with a full queue, not at all: EAGAIN is no connection that
         * comes later (unix_stream_connect). */
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return -errno;
        return steal_fd(&fd);
}

int vm_channel_open(struct vm_channel **ret, const char *directory, json_t *request) {
        _cleanup_(vm_channel_freep) struct vm_channel *channel = calloc(1, sizeof(*channel));
        _cleanup_free_ char *text = json_dumps(request, JSON_COMPACT), *line = NULL;
        ssize_t n;
        int length;

        if (!channel || !text)
                return -ENOMEM;
        channel->fd = -1;
        length = asprintf(&line, "%s\n", text);
        if (length < 0) {
                line = NULL;
                return -ENOMEM;
        }
        channel->fd = vm_connect(directory, VM_CONTROL_SOCKET);
        if (channel->fd < 0)
                return channel->fd;
        /* Far below what a new socket's buffer takes: it goes as a whole. One that answers before it has
         * read, such as a refusal of too many, has closed already; its line is there to be read. */
        n = send(channel->fd, line, (size_t)length, MSG_NOSIGNAL);
        if (n != length && !(n < 0 && errno == EPIPE))
                return n < 0 ? -errno : -EMSGSIZE;
        *ret = steal_ptr(channel);
        return 0;
}

int vm_channel_watch(struct vm_channel **ret, const char *directory, const char *method) {
        json_auto_t *request = json_pack("{s:s}", "method", method);
        int r = request ? vm_channel_open(ret, directory, request) : -ENOMEM;

        if (r == 0)
                (*ret)->watches = true;
        return r;
}

struct vm_channel *vm_channel_free(struct vm_channel *channel) {
        if (!channel)
                return NULL;
        fd_close(channel->fd);
        free(channel->buffer);
        free(channel->refusal);
        free(channel);
        return NULL;
}

void vm_channel_freep(struct vm_channel **channel) {
        vm_channel_free(*channel);
}

int vm_channel_fd(const struct vm_channel *channel) {
        return channel->fd;
}

/* Takes what the socket has. 0, also when it has nothing now, or -errno. */
static int fill(struct vm_channel *channel) {
        for (;;) {
                ssize_t n;

                if (channel->used + READ_SIZE > channel->size) {
                        char *grown;

                        if (channel->used > VM_CHANNEL_REPLY_MAX) {
                                channel->used = 0;
                                channel->end = -EPROTO;
                                return 0;
                        }
                        grown = realloc(channel->buffer, channel->used + READ_SIZE);
                        if (!grown)
                                return -ENOMEM;
                        channel->buffer = grown;
                        channel->size = channel->used + READ_SIZE;
                }
                n = recv(channel->fd, channel->buffer + channel->used, READ_SIZE, MSG_DONTWAIT);
                if (n > 0) {
                        channel->used += (size_t)n;
                        /* One who never stops sending must not keep us from what is there. */
                        if (memchr(channel->buffer + channel->used - n, '\n', (size_t)n))
                                return 0;
                        continue;
                }
                if (n == 0)
                        channel->end = -EPIPE;
                else if (errno == EINTR)
                        continue;
                else if (errno != EAGAIN)
                        channel->end = errno == ECONNRESET ? -EPIPE : -errno;
                return 0;
        }
}

const char *vm_channel_refusal(const struct vm_channel *channel) {
        return channel->refusal ? channel->refusal : "";
}

/* Whether the first line is no answer but an error. */
static bool is_refused(struct vm_channel *channel, const json_t *object) {
        const char *text = view_string(object, "error");

        if (!channel->watches || !json_is_false(json_object_get(object, "ok")) || !text[0])
                return false;
        channel->refusal = strdup(text);
        if (channel->refusal)
                view_clean(channel->refusal);
        channel->end = -EREMOTEIO;
        return true;
}

/* Takes the first line out of the buffer; the last may lack its newline. 1, 0, -EPROTO or -EREMOTEIO. */
static int take_line(struct vm_channel *channel, json_t **ret) {
        char *newline = channel->used > 0 ? memchr(channel->buffer, '\n', channel->used) : NULL;
        size_t length = newline ? (size_t)(newline - channel->buffer) : channel->used;
        size_t taken = newline ? length + 1 : length;
        json_t *object;

        if (!newline && (channel->end == 0 || channel->used == 0))
                return 0;
        object = json_loadb(channel->buffer, length, 0, NULL);
        channel->used -= taken;
        memmove(channel->buffer, channel->buffer + taken, channel->used);
        if (!json_is_object(object)) {
                json_decref(object);
                return -EPROTO;
        }
        if (is_refused(channel, object)) {
                json_decref(object);
                return -EREMOTEIO;
        }
        channel->watches = false;
        *ret = object;
        return 1;
}

int vm_channel_next(struct vm_channel *channel, json_t **ret) {
        int r;

        r = take_line(channel, ret);
        if (r != 0)
                return r;
        if (channel->end == 0) {
                r = fill(channel);
                if (r == 0)
                        r = take_line(channel, ret);
                if (r != 0)
                        return r;
        }
        return channel->end;
}

int vm_channel_wait(struct vm_channel *channel, uint64_t deadline, json_t **ret) {
        for (;;) {
                struct pollfd pollfd = { .fd = channel->fd, .events = POLLIN };
                int r = vm_channel_next(channel, ret);

                if (r != 0)
                        return r;
                r = poll(&pollfd, 1, vm_clock_left_ms(deadline));
                if (r < 0 && errno != EINTR)
                        return -errno;
                if (r == 0 && vm_clock_left_ms(deadline) == 0)
                        return -ETIMEDOUT;
        }
}

int vm_channel_ask(const char *directory, json_t *request, unsigned timeout_ms, json_t **ret) {
        _cleanup_(vm_channel_freep) struct vm_channel *channel = NULL;
        uint64_t deadline = vm_clock_in_ms(timeout_ms);
        int r;

        r = vm_channel_open(&channel, directory, request);
        return r < 0 ? r : vm_channel_wait(channel, deadline, ret);
}
