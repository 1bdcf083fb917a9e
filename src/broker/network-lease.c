#include "broker/network-lease.h"

#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/memory.h"
#include "broker/broker.h"
#include "broker/network.h"
#include "broker/worker.h"

#define ENDED_KEPT 1024 /* far more than a socket's buffer holds `end` messages */

/* --- What its process is told --- */

static void send_handle(struct network *network, const struct lease *lease, int handle) {
        json_auto_t *body = json_pack("{ss sI sI sI ss}", "command", "lease", "lease", (json_int_t)lease->id,
                                      "uid", (json_int_t)lease->user->uid, "pid", (json_int_t)lease->pid,
                                      "program", lease->program);

        network->leases_sent++;
        worker_send(network->worker, body, &handle, 1);
}

static void send_end(struct network *network, uint64_t id) {
        json_auto_t *body = json_pack("{ss sI}", "command", "end", "lease", (json_int_t)id);

        worker_send(network->worker, body, NULL, 0);
}

/* The forwards that a new process does not know yet, as fast as it takes them. */
static void send_forwards_of(struct network *network, struct lease *lease) {
        list_for_each(struct lease_forward, forward, &lease->forwards, link) {
                if (forward->sent)
                        continue;
                if (worker_is_congested(network->worker))
                        return;
                forward->sent = true;
                worker_send(network->worker, forward->body, &forward->socket, 1);
        }
}

/* Sends the handles that the process does not know yet, as fast as it takes them. */
static void send_handles_of(struct network *network, struct lease *lease) {
        while (lease->n_sent < lease->n_handles && !worker_is_congested(network->worker)) {
                lease->serials[lease->n_sent] = network->leases_sent + 1;
                send_handle(network, lease, lease->handles[lease->n_sent++]);
        }
}

/* Forwards go before the first handle, for with that requests come, whose forwards are to get other numbers. */
void network_send_leases(struct network *network) {
        list_for_each(struct lease, lease, &network->leases, by_network)
                send_forwards_of(network, lease);
        list_for_each(struct lease, lease, &network->leases, by_network)
                send_handles_of(network, lease);
}

void network_resend_leases(struct network *network) {
        for (size_t i = 0; i < network->n_ended; i++)
                send_end(network, network->ended[i]);
        network->n_ended = 0;
        list_for_each(struct lease, lease, &network->leases, by_network) {
                lease->n_sent = 0;
                list_for_each(struct lease_forward, forward, &lease->forwards, link)
                        forward->sent = false;
        }
        network_send_leases(network);
}

/* --- Leases --- */

struct lease *network_new_lease(struct network *network, struct user *user, pid_t pid, const char *program) {
        struct lease *lease = lease_new(network->broker->next_lease, network, user, pid, program);

        if (!lease)
                return NULL;
        network->broker->next_lease++;
        list_append(&network->leases, &lease->by_network);
        return lease;
}

int network_add_handle(struct network *network, struct lease *lease, int *ret_fd, struct error *error) {
        int pair[2];

        int r = fd_socketpair(pair, false);
        if (r < 0)
                return error_errno(error, r, "cannot make a socket pair");

        _cleanup_fd_ int client_end = pair[0];
        r = lease_add_handle(lease, pair[1], error);
        if (r < 0)
                return r;
        if (network->state == NETWORK_RUNNING)
                send_handles_of(network, lease);
        *ret_fd = steal_fd(&client_end);
        return 0;
}

static void keep_ended(struct network *network, uint64_t id) {
        if (network->state == NETWORK_RUNNING && network->n_ended == ENDED_KEPT) {
                network->n_ended /= 2;
                memmove(network->ended, network->ended + ENDED_KEPT / 2,
                        network->n_ended * sizeof(*network->ended));
        }
        if (network->n_ended == network->ended_room) {
                size_t room = network->ended_room ? 2 * network->ended_room : 8;
                uint64_t *ended = reallocarray(network->ended, room, sizeof(*ended));

                if (!ended)
                        return; /* its interfaces go with their last fds all the same */
                network->ended = ended;
                network->ended_room = room;
        }
        network->ended[network->n_ended++] = id;
}

void network_end_lease(struct lease *lease) {
        struct network *network = lease->network;

        keep_ended(network, lease->id);
        if (network->state == NETWORK_RUNNING)
                send_end(network, lease->id);
        lease_free(lease);
}
