/* Agent: commands to QEMU's guest agent in a VM. */
#include "cli/vm-agent.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/view.h"
#include "cli/vm-channel.h"
#include "cli/vm-clock.h"
#include "cli/vm-directory.h"

#define DELIMITER '\xff' /* a byte that no JSON has */
#define READ_SIZE 65536
#define QUEUE_PAUSE_MS 20 /* between attempts to get into a queue that is full */

/* One connection. */
struct talk {
        int fd; /* borrowed */
        uint64_t deadline;
        bool earns; /* what comes moves the deadline: it is the answer */
        char *input; /* what came and is not looked at yet */
        size_t used, room;
};

static void talk_deinit(struct talk *talk) {
        free(talk->input);
}

/* Until the socket is ready for that. 0, -ETIMEDOUT or another -errno. */
static int await(const struct talk *talk, short events) {
        struct pollfd pollfd = { .fd = talk->fd, .events = events };

        for (;;) {
                int n = poll(&pollfd, 1, vm_clock_left_ms(talk->deadline));

                if (n > 0)
                        return 0;
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n == 0 && vm_clock_left_ms(talk->deadline) == 0)
                        return -ETIMEDOUT;
        }
}

static int send_all(const struct talk *talk, const char *data, size_t size) {
        while (size > 0) {
                ssize_t n = send(talk->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n > 0) {
                        data += n;
                        size -= (size_t)n;
                } else if (errno == EAGAIN) {
                        int r = await(talk, POLLOUT);
                        if (r < 0)
                                return r;
                } else if (errno != EINTR) {
                        return -errno;
                }
        }
        return 0;
}

/* `prefix`, and the command as a line. */
static int send_command(const struct talk *talk, const char *prefix, const char *command,
                        const json_t *arguments) {
        json_auto_t *request = json_pack("{s:s, s:O*}", "execute", command, "arguments", arguments);
        _cleanup_free_ char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
        _cleanup_free_ char *line = text ? text_format("%s%s\n", prefix, text) : NULL;

        return line ? send_all(talk, line, strlen(line)) : -ENOMEM;
}

/* More of what the agent says. 0 or -errno. */
static int receive(struct talk *talk) {
        if (talk->room - talk->used < READ_SIZE) {
                size_t room = talk->room ? talk->room * 2 : READ_SIZE;
                char *grown = talk->used > VM_AGENT_REPLY_MAX ? NULL : realloc(talk->input, room);

                if (!grown)
                        return talk->used > VM_AGENT_REPLY_MAX ? -EMSGSIZE : -ENOMEM;
                talk->input = grown;
                talk->room = room;
        }
        for (;;) {
                /* One that never pauses can always be read from: poll alone would not end it. */
                int r = vm_clock_left_ms(talk->deadline) == 0 ? -ETIMEDOUT : await(talk, POLLIN);
                if (r < 0)
                        return r;
                ssize_t n = recv(talk->fd, talk->input + talk->used, talk->room - talk->used, MSG_DONTWAIT);
                if (n > 0) {
                        talk->used += (size_t)n;
                        if (talk->earns)
                                talk->deadline += (uint64_t)n * 1000000 / VM_AGENT_RATE;
                        return 0;
                }
                if (n == 0)
                        return -ECONNRESET;
                if (errno != EAGAIN && errno != EINTR)
                        return -errno;
        }
}

static void drop(struct talk *talk, size_t size) {
        talk->used -= size;
        memmove(talk->input, talk->input + size, talk->used);
}

/* What an earlier client left half read ends at the delimiter, and is not kept until then. */
static int skip_to_delimiter(struct talk *talk) {
        for (;;) {
                char *delimiter = talk->used > 0 ? memchr(talk->input, DELIMITER, talk->used) : NULL;

                if (delimiter) {
                        drop(talk, (size_t)(delimiter - talk->input) + 1);
                        return 0;
                }
                talk->used = 0;
                int r = receive(talk);
                if (r < 0)
                        return r;
        }
}

/* The next line: NULL in *ret for what is no object. */
static int receive_line(struct talk *talk, json_t **ret) {
        size_t looked = 0;

        for (;;) {
                char *newline = talk->used > looked ? memchr(talk->input + looked, '\n', talk->used - looked)
                                                    : NULL;

                if (newline) {
                        size_t length = (size_t)(newline - talk->input);
                        /* A delimiter begins anew, wherever it is. */
                        char *delimiter = memrchr(talk->input, DELIMITER, length);
                        char *start = delimiter ? delimiter + 1 : talk->input;
                        json_t *object = json_loadb(start, (size_t)(newline - start), 0, NULL);

                        drop(talk, length + 1);
                        if (!json_is_object(object)) {
                                json_decref(object);
                                object = NULL;
                        }
                        *ret = object;
                        return 0;
                }
                looked = talk->used;
                int r = receive(talk);
                if (r < 0)
                        return r;
        }
}

/* guest-sync-delimited: from its answer on, all is an answer to us. What comes before is another's: that of a
 * client which did not wait for it. */
static int synchronise(struct talk *talk, json_int_t id) {
        json_auto_t *arguments = json_pack("{s:I}", "id", id);
        int r = arguments ? send_command(talk, "\xff", "guest-sync-delimited", arguments) : -ENOMEM;

        while (r == 0) {
                json_auto_t *answer = NULL;

                /* Lines that are there already take time as well. */
                r = vm_clock_left_ms(talk->deadline) == 0 ? -ETIMEDOUT : skip_to_delimiter(talk);
                if (r == 0)
                        r = receive_line(talk, &answer);
                const json_t *value = json_object_get(answer, "return");
                if (r == 0 && json_is_integer(value) && json_integer_value(value) == id)
                        return 0;
        }
        return r;
}

static int take_answer(const json_t *answer, const char *command, json_t **ret, struct error *error) {
        const json_t *refusal = json_object_get(answer, "error");
        json_t *value = json_object_get(answer, "return");
        char text[256];

        if (value) {
                *ret = json_incref(value);
                return 0;
        }
        if (!json_is_object(refusal))
                return error_set(error, -EPROTO, "the guest agent's answer to %s is none", command);
        /* What a guest says does not drive the terminal. */
        snprintf(text, sizeof(text), "%s", view_string(refusal, "desc"));
        return error_set(error, -EREMOTEIO, "%s", text[0] ? view_clean(text) : "no reason was given");
}

int vm_agent_talk(int socket, uint32_t id, const char *command, const json_t *arguments, uint64_t deadline,
                  json_t **ret, struct error *error) {
        _cleanup_(talk_deinit) struct talk talk = { .fd = socket, .deadline = deadline };
        json_auto_t *answer = NULL;

        int r = synchronise(&talk, id);
        if (r >= 0)
                r = send_command(&talk, "", command, arguments);
        talk.earns = true;
        if (r >= 0)
                r = receive_line(&talk, &answer);
        if (r == -EMSGSIZE)
                return error_set(error, -EPROTO, "the guest agent answers without an end");
        if (r < 0)
                return error_errno(error, r, "cannot ask the guest agent");
        return take_answer(answer, command, ret, error);
}

/* QEMU takes one client at a time, and lets a few wait in its queue; where that is full, others are at it. */
static int connect_to_agent(const char *directory, uint64_t deadline) {
        for (;;) {
                int fd = vm_connect(directory, VM_AGENT_SOCKET);

                if (fd != -EAGAIN)
                        return fd;
                if (vm_clock_left_ms(deadline) == 0)
                        return -ETIMEDOUT;
                poll(NULL, 0, QUEUE_PAUSE_MS);
        }
}

int vm_agent_ask(const char *directory, const char *command, json_t *consume_arguments, uint64_t deadline,
                 json_t **ret, struct error *error) {
        json_auto_t *arguments = consume_arguments;
        _cleanup_fd_ int fd = connect_to_agent(directory, deadline);
        uint32_t id;

        if (fd < 0)
                return error_errno(error, fd, "cannot ask the guest agent");
        if (getrandom(&id, sizeof(id), 0) != sizeof(id))
                return error_errno(error, -errno, "cannot ask the guest agent");
        return vm_agent_talk(fd, id, command, arguments, deadline, ret, error);
}
