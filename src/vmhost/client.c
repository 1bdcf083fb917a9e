#include "vmhost/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "vmhost/method.h"
#include "vmhost/scanner.h"

#define READ_SIZE 4096
#define READS_PER_TURN 16
#define IGNORED_MAX (256 * 1024) /* bytes behind a request that are read and dropped before closing */

struct client {
        struct list clients; /* of the owner */
        struct client_owner *owner;
        int fd;
        enum client_state state;
        struct source *source; /* NULL until the first read found less than a request */
        struct source *deadline;

        struct scanner *scanner; /* of a request that is not whole yet */
        char *input;
        size_t input_size, input_room;
        char *output; /* what the socket did not take */
        size_t output_size;
};

static void count(struct client *client, int change) {
        bool stays = client->state == CLIENT_FOLLOWING || client->state == CLIENT_WAITING;
        unsigned *counter = stays ? &client->owner->n_staying : &client->owner->n_reading;

        *counter += (unsigned)change;
}

static void set_state(struct client *client, enum client_state state) {
        count(client, -1);
        client->state = state;
        count(client, 1);
}

static void drop_input(struct client *client) {
        free(client->scanner);
        client->scanner = NULL;
        free(client->input);
        client->input = NULL;
        client->input_size = client->input_room = 0;
}

/* Closing a Unix socket with unread bytes makes the peer's read fail behind our answer, where an end is due:
 * a second request is ignored, not punished (unix_release_sock). First no more may come: the peer's further
 * bytes fail with it, and not its read. */
static void drain(int fd) {
        char buffer[READ_SIZE];

        shutdown(fd, SHUT_RD);
        for (size_t total = 0; total < IGNORED_MAX;) {
                ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
                if (n <= 0)
                        return;
                total += (size_t)n;
        }
}

static void client_free(struct client *client) {
        count(client, -1);
        list_unlink(&client->clients);
        source_free(client->source);
        source_free(client->deadline);
        drain(client->fd);
        fd_close(client->fd);
        drop_input(client);
        free(client->output);
        free(client);
}

static int on_deadline(struct source *source, void *data) {
        client_free(data);
        return 0;
}

static int on_socket(struct source *source, int fd, uint32_t events, void *data);

/* Waits for these, and for the other side to close, which comes always. */
static int watch(struct client *client, uint32_t events) {
        if (client->source)
                return source_set_events(client->source, events);
        return loop_add_fd(client->owner->loop, &client->source, client->fd, events, on_socket, client);
}

/* Sends and keeps the rest. -errno: the connection is of no use any more. */
static int push(struct client *client, const char *data, size_t size) {
        if (client->output_size == 0) {
                ssize_t n = send(client->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && errno != EAGAIN && errno != EINTR)
                        return -errno;
                if (n > 0) {
                        data += n;
                        size -= (size_t)n;
                }
        }
        if (size == 0)
                return 0;
        if (client->output_size + size > CLIENT_OUTPUT_MAX)
                return -ENOBUFS;
        char *grown = realloc(client->output, client->output_size + size);
        if (!grown)
                return -ENOMEM;
        memcpy(grown + client->output_size, data, size);
        client->output = grown;
        client->output_size += size;
        return watch(client, EPOLLOUT);
}

static int flush(struct client *client) {
        ssize_t n = send(client->fd, client->output, client->output_size, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        client->output_size -= (size_t)n;
        memmove(client->output, client->output + n, client->output_size);
        return client->output_size == 0 ? watch(client, 0) : 0;
}

/* Sends a whole answer; the client is gone behind it, at once or when the rest has been taken. */
static void answer(struct client *client, struct response *response) {
        set_state(client, CLIENT_WRITING);
        if (response->failed || push(client, response->data, response->size) < 0 || client->output_size == 0)
                client_free(client);
}

static void refuse(struct client *client, const char *text) {
        _cleanup_(response_deinit) struct response response = RESPONSE_INIT;

        method_refuse(&response, text, strlen(text));
        response_end(&response);
        answer(client, &response);
}

static void refuse_request(struct client *client, const char *reason) {
        _cleanup_free_ char *text = text_format("invalid request: %s", reason);

        refuse(client, text ? text : "invalid request: out of memory");
}

/* From an exchange to a connection that stays, if there are not too many. */
static void stay(struct client *client, enum client_state state, const struct response *response) {
        if (client->owner->n_staying >= client->owner->staying_max) {
                refuse(client, "too many clients wait or follow events already");
                return;
        }
        set_state(client, state);
        source_disarm(client->deadline);
        /* Nothing more is read: its bytes stay in the socket, and a client that closes is noticed all the
         * same. */
        if (watch(client, 0) < 0 || push(client, response->data ? response->data : "", response->size) < 0)
                client_free(client);
}

static void handle_request(struct client *client) {
        _cleanup_(request_deinit) struct request request = REQUEST_INIT;
        _cleanup_(response_deinit) struct response response = RESPONSE_INIT;
        _cleanup_free_ char *reason = NULL;
        int r;

        r = request_parse(client->input, client->input_size, &request, &reason);
        drop_input(client);
        if (r < 0) {
                refuse_request(client, reason ? reason : strerror(-r));
                return;
        }
        enum method_result result = method_run(client->owner->supervisor, &request, &response);
        if (result == METHOD_CLOSE)
                answer(client, &response);
        else
                stay(client, result == METHOD_FOLLOW ? CLIENT_FOLLOWING : CLIENT_WAITING, &response);
}

/* Looks at what one read brought. False: the request is dealt with, and the client may be gone. */
static bool scan(struct client *client, const char *data, size_t size) {
        size_t i = 0;
        enum scanner_result result = SCANNER_MORE;

        while (i < size && result == SCANNER_MORE)
                result = scanner_feed(client->scanner, (unsigned char)data[i++]);
        if (result == SCANNER_ERROR) {
                refuse_request(client, scanner_error(client->scanner));
                return false;
        }
        if (client->input_size + i > CLIENT_REQUEST_MAX) {
                refuse_request(client, "longer than 65536 bytes");
                return false;
        }
        if (client->input_room - client->input_size < i) {
                char *grown = realloc(client->input, client->input_size + i);
                if (!grown) {
                        client_free(client);
                        return false;
                }
                client->input = grown;
                client->input_room = client->input_size + i;
        }
        memcpy(client->input + client->input_size, data, i);
        client->input_size += i;
        if (result == SCANNER_MORE)
                return true;
        client->input_size -= result == SCANNER_ENDED;
        handle_request(client);
        return false;
}

static void finish_input(struct client *client) {
        if (scanner_finish(client->scanner) == SCANNER_ENDED)
                handle_request(client);
        else
                refuse_request(client, scanner_error(client->scanner));
}

/* Reads what is there. True: the client is there still, and its request not whole. */
static bool read_request(struct client *client) {
        char buffer[READ_SIZE];

        for (int i = 0; i < READS_PER_TURN; i++) {
                ssize_t n = recv(client->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return true;
                if (n < 0)
                        client_free(client);
                else if (n == 0)
                        finish_input(client);
                else if (scan(client, buffer, (size_t)n))
                        continue;
                return false;
        }
        return true;
}

static int on_socket(struct source *source, int fd, uint32_t events, void *data) {
        struct client *client = data;

        if (client->state == CLIENT_READING) {
                read_request(client);
        } else if (events & (EPOLLHUP | EPOLLERR)) {
                client_free(client);
        } else if (events & EPOLLOUT) {
                int r = flush(client);
                if (r < 0 || (client->output_size == 0 && client->state == CLIENT_WRITING))
                        client_free(client);
        }
        return 0;
}

int client_new(struct client_owner *owner, int consume_fd) {
        struct client *client = calloc(1, sizeof(*client));
        int r = -ENOMEM;

        if (!client) {
                fd_close(consume_fd);
                return -ENOMEM;
        }
        client->owner = owner;
        client->fd = consume_fd;
        list_append(&owner->clients, &client->clients);
        count(client, 1);
        client->scanner = malloc(sizeof(*client->scanner));
        if (client->scanner) {
                *client->scanner = SCANNER_INIT;
                r = loop_add_timer(owner->loop, &client->deadline, on_deadline, client);
        }
        if (r < 0) {
                client_free(client);
                return r;
        }
        source_arm(client->deadline, CLIENT_DEADLINE);
        /* Most requests are there as soon as their connection is: then the loop need not hear of it. */
        if (!read_request(client))
                return 0;
        r = watch(client, EPOLLIN);
        if (r < 0)
                client_free(client);
        return r;
}

struct client *client_find_oldest(struct client_owner *owner) {
        list_for_each(struct client, client, &owner->clients, clients)
                if (client->state == CLIENT_READING || client->state == CLIENT_WRITING)
                        return client;
        return NULL;
}

void client_turn_out(struct client *client, const char *text) {
        _cleanup_(response_deinit) struct response response = RESPONSE_INIT;

        /* In the midst of an answer another would only be rubbish. */
        if (client->state == CLIENT_READING) {
                method_refuse(&response, text, strlen(text));
                if (response_end(&response) == 0)
                        push(client, response.data, response.size);
        }
        client_free(client);
}

void clients_send_event(struct client_owner *owner, const json_t *event) {
        _cleanup_(response_deinit) struct response response = RESPONSE_INIT;

        list_for_each(struct client, client, &owner->clients, clients) {
                if (client->state != CLIENT_FOLLOWING)
                        continue;
                if (!response.data)
                        method_write_event(event, &response);
                if (response.failed || push(client, response.data, response.size) < 0)
                        client_free(client);
        }
}

void clients_finish(struct client_owner *owner) {
        _cleanup_(response_deinit) struct response response = RESPONSE_INIT;

        method_answer_wait(owner->supervisor, &response);
        list_for_each(struct client, client, &owner->clients, clients) {
                if (client->state == CLIENT_WAITING && !response.failed)
                        push(client, response.data, response.size);
                client_free(client);
        }
}

void clients_free(struct client_owner *owner) {
        list_for_each(struct client, client, &owner->clients, clients)
                client_free(client);
}
