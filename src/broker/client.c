#include "broker/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/elsewhere.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "broker/broker.h"
#include "broker/lease.h"
#include "broker/message.h"
#include "broker/network-lease.h"
#include "broker/network.h"
#include "broker/request.h"
#include "loop/loop.h"
#include "wire/wire.h"

#define REQUESTS_PER_TURN 16 /* then the others have theirs */

void client_wake(struct client *client) {
        list_unlink(&client->again);
        list_append(&client->broker->again, &client->again);
        source_arm(client->broker->again_timer, 0);
}

static void give_up(struct client *client) {
        client->dead = true;
        client_wake(client);
}

static void update_events(struct client *client) {
        uint32_t events = 0;

        if (client->dead)
                return;
        if (wire_has_output(client->wire))
                events = EPOLLOUT;
        else if (client->ending)
                give_up(client);
        else if (!client->request)
                events = EPOLLIN;
        source_set_events(client->source, events);
}

/* --- Replies --- */

static json_t *error_body(enum code code, const char *message) {
        return json_pack("{si so}", "error", code, "message", message_json(message));
}

void client_reply(struct client *client, json_t *body, const int *fds, size_t n_fds) {
        if (client->request) {
                client->request = request_free(client->request);
                /* More may be waiting in the buffer, and this may be another's handler. */
                client_wake(client);
        }
        if (client->dead)
                return;
        if (!body) {
                client_reply_error(client, CODE_INTERNAL_ERROR, "out of memory");
                return;
        }

        int r = wire_send(client->wire, body, fds, n_fds);
        if (r == -EMSGSIZE) {
                client_reply_error(client, CODE_INTERNAL_ERROR,
                                   "the answer is too long for one line: ask for networks by their names");
                return;
        }
        if (r < 0) {
                log_debug("pid %d (%s): dropped: %s", client->peer.pid, client->peer.program, strerror(-r));
                give_up(client);
                return;
        }
        update_events(client);
}

void client_reply_error(struct client *client, enum code code, const char *format, ...) {
        char message[512];
        va_list args;

        va_start(args, format);
        vsnprintf(message, sizeof(message), format, args);
        va_end(args);

        json_auto_t *body = error_body(code, message);
        if (!body) {
                give_up(client);
                return;
        }
        if (code == CODE_INTERNAL_ERROR)
                log_error("pid %d (%s): %s", client->peer.pid, client->peer.program, message);
        client_reply(client, body, NULL, 0);
}

/* --- Requests --- */

static bool can_take_request(const struct client *client) {
        return !client->request && !client->ending && !client->dead && !wire_has_output(client->wire);
}

/* Handles what has come, up to a client's share of a turn. */
static void receive(struct client *client) {
        for (int i = 0; i < REQUESTS_PER_TURN && can_take_request(client); i++) {
                _cleanup_(wire_message_deinit) struct wire_message message = WIRE_MESSAGE_INIT;
                struct error error = ERROR_INIT;

                int r = wire_receive(client->wire, &message, &error);
                if (r == WIRE_MESSAGE)
                        request_handle(client, &message);
                else if (r == WIRE_MALFORMED || r == WIRE_TOO_LONG)
                        client_reply_error(client, CODE_INVALID_REQUEST, "%s", error_text(&error, -EINVAL));

                if (r == WIRE_AGAIN)
                        return;
                if (r == WIRE_TOO_LONG || r == WIRE_END)
                        client->ending = true;
                else if (r < 0)
                        give_up(client);
        }
        if (can_take_request(client) && wire_has_input(client->wire))
                client_wake(client);
}

static int on_socket(struct source *source, int fd, uint32_t events, void *data) {
        struct client *client = data;

        if (client->dead)
                return 0;
        if ((events & EPOLLOUT) && wire_flush(client->wire) < 0) {
                give_up(client);
                return 0;
        }
        if ((events & EPOLLOUT) && can_take_request(client) && wire_has_input(client->wire))
                client_wake(client);
        /* While a request waits nothing is read; but a peer that has closed both directions waits for
         * nothing. */
        if ((events & (EPOLLHUP | EPOLLERR)) &&
            (client->request || client->ending || wire_has_output(client->wire))) {
                give_up(client);
                return 0;
        }
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                receive(client);
        update_events(client);
        return 0;
}

void client_run_again(struct broker *broker) {
        struct list round = LIST_INIT(round);

        while (!list_empty(&broker->again)) {
                struct list *first = broker->again.next;
                list_unlink(first);
                list_append(&round, first);
        }
        while (!list_empty(&round)) {
                struct client *client = container_of(round.next, struct client, again);
                list_unlink(&client->again);
                if (client->dead) {
                        client_free(client);
                        continue;
                }
                receive(client);
                update_events(client);
        }
}

/* --- The object --- */

struct lease *client_find_lease(struct client *client, const struct network *network) {
        list_for_each(struct lease, lease, &client->leases, by_client)
                if (lease->network == network)
                        return lease;
        return NULL;
}

int client_take_lease(struct client *client, struct lease *lease, struct error *error) {
        size_t n = 0;

        list_for_each(struct lease, other, &client->leases, by_client)
                n++;
        if (n >= CLIENT_LEASES_MAX)
                return error_set(error, -EDQUOT,
                                 "this connection has %zu networks, which is the limit for one", n);
        lease->client = client;
        list_append(&client->leases, &lease->by_client);
        return 0;
}

static void client_freep(struct client **client) {
        client_free(*client);
}

struct client *client_free(struct client *client) {
        if (!client)
                return NULL;

        struct broker *broker = client->broker;
        request_free(client->request);
        list_for_each(struct lease, lease, &client->leases, by_client)
                network_end_lease(lease);
        if (!list_empty(&client->link)) {
                list_unlink(&client->link);
                broker->n_clients--;
        }
        list_unlink(&client->again);
        source_free(client->source);
        wire_free(client->wire);
        peer_deinit(&client->peer);
        if (client->user)
                user_discharge(client->user, CHARGE_CONNECTION);
        user_unref(client->user);
        free(client);
        broker_check_idle(broker);
        return NULL;
}

/* Says no to a connection that is not to be kept: one try, as nothing of it may stay. */
static void refuse(int fd, const char *reason) {
        json_auto_t *body = error_body(CODE_NOT_ALLOWED, reason);
        _cleanup_free_ char *line = body ? json_dumps(body, JSON_COMPACT) : NULL;

        if (!line)
                return;
        size_t length = strlen(line);
        line[length] = '\n'; /* in place of its end: what is sent has a length */
        if (send(fd, line, length + 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                log_debug("a refused client does not read");
        /* What it has not sent yet it sends no more: so most of them are closed without further ado. */
        shutdown(fd, SHUT_RDWR);
}

/* Charges the user: 0, or -EDQUOT with the reason. */
static int charge(struct client *client, struct error *error) {
        struct broker *broker = client->broker;

        if (broker->n_clients >= BROKER_CLIENTS_MAX)
                return error_set(error, -EDQUOT, "the broker has %u connections, which is its limit",
                                 broker->n_clients);

        struct user *user = users_get(&broker->users, client->peer.uid);
        if (!user)
                return -ENOMEM;
        int r = user_charge(user, CHARGE_CONNECTION, error);
        if (r < 0) {
                user_unref(user);
                return r;
        }
        client->user = user;
        return 0;
}

int client_new(struct broker *broker, int consume_fd) {
        _cleanup_elsewhere_ int fd = consume_fd;
        _cleanup_(client_freep) struct client *client = calloc(1, sizeof(*client));
        struct error error = ERROR_INIT;

        if (!client)
                return -ENOMEM;
        client->broker = broker;
        list_init(&client->link);
        list_init(&client->again);
        list_init(&client->leases);
        int r = peer_read(fd, &client->peer);
        if (r < 0)
                return r;
        r = charge(client, &error);
        if (r < 0) {
                log_warning("pid %d (%s) is refused: %s", client->peer.pid, client->peer.program,
                            error_text(&error, r));
                refuse(fd, error_text(&error, r));
                return r;
        }
        r = wire_new(&client->wire, steal_fd(&fd));
        if (r < 0)
                return r;
        wire_set_care(client->wire, WIRE_STRANGER, 0);
        r = loop_add_fd(broker->loop, &client->source, wire_fd(client->wire), EPOLLIN, on_socket, client);
        if (r < 0)
                return r;
        list_append(&broker->clients, &client->link);
        broker->n_clients++;
        steal_ptr(client);
        broker_check_idle(broker);
        return 0;
}
