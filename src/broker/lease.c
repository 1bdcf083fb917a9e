#include "broker/lease.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/elsewhere.h"
#include "base/fd.h"
#include "base/process.h"
#include "broker/client.h"

struct lease *lease_new(uint64_t id, struct network *network, struct user *user, pid_t pid,
                        const char *program) {
        struct lease *lease = calloc(1, sizeof(*lease));

        if (!lease)
                return NULL;
        list_init(&lease->by_network);
        list_init(&lease->by_client);
        list_init(&lease->forwards);
        lease->id = id;
        lease->network = network;
        lease->user = user_ref(user);
        lease->pid = pid;
        snprintf(lease->program, sizeof(lease->program), "%s", program);
        return lease;
}

/* Moves at most one handle into the place on each side of n_sent, from the end of that side. */
static void drop_handle(struct lease *lease, size_t i) {
        elsewhere_close(lease->handles[i]);
        if (i < lease->n_sent) {
                lease->handles[i] = lease->handles[--lease->n_sent];
                lease->serials[i] = lease->serials[lease->n_sent];
                i = lease->n_sent;
        }
        lease->handles[i] = lease->handles[--lease->n_handles];
        lease->serials[i] = lease->serials[lease->n_handles];
        user_discharge(lease->user, CHARGE_HANDLE);
}

static void forward_free(struct lease_forward *forward) {
        list_unlink(&forward->link);
        json_decref(forward->body);
        elsewhere_close(forward->socket);
        free(forward);
}

int lease_add_forward(struct lease *lease, unsigned number, json_t *body, int consume_fd) {
        struct lease_forward *forward = malloc(sizeof(*forward));

        if (!forward) {
                elsewhere_close(consume_fd);
                return -ENOMEM;
        }
        *forward = (struct lease_forward){
                .number = number, .body = json_incref(body), .socket = consume_fd, .sent = true
        };
        list_append(&lease->forwards, &forward->link);
        return 0;
}

void lease_remove_forward(struct lease *lease, unsigned number) {
        list_for_each(struct lease_forward, forward, &lease->forwards, link)
                if (forward->number == number)
                        forward_free(forward);
}

void lease_remove_forwards(struct lease *lease) {
        list_for_each(struct lease_forward, forward, &lease->forwards, link)
                forward_free(forward);
}

struct lease *lease_free(struct lease *lease) {
        if (!lease)
                return NULL;
        elsewhere_close_all(lease->handles, lease->n_handles);
        while (lease->n_handles > 0)
                drop_handle(lease, lease->n_handles - 1);
        lease_remove_forwards(lease);
        list_unlink(&lease->by_network);
        list_unlink(&lease->by_client);
        user_unref(lease->user);
        free(lease->handles);
        free(lease->serials);
        free(lease);
        return NULL;
}

size_t lease_sweep(struct lease *lease) {
        for (size_t i = lease->n_handles; i-- > 0;) {
                struct pollfd p = { .fd = lease->handles[i], .events = POLLRDHUP };

                /* What follows does not move the handles that are still to be looked at. */
                if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL)))
                        drop_handle(lease, i);
        }
        return lease->n_handles;
}

size_t lease_drop_sent(struct lease *lease, uint64_t serial) {
        for (size_t i = 0; i < lease->n_sent; i++)
                if (lease->serials[i] == serial) {
                        drop_handle(lease, i);
                        break;
                }
        return lease->n_handles;
}

static int make_room(struct lease *lease, size_t room) {
        int *handles = reallocarray(lease->handles, room, sizeof(*handles));
        if (handles)
                lease->handles = handles;
        uint64_t *serials = reallocarray(lease->serials, room, sizeof(*serials));
        if (serials)
                lease->serials = serials;
        if (!handles || !serials)
                return -ENOMEM;
        lease->room = room;
        return 0;
}

int lease_add_handle(struct lease *lease, int consume_fd, struct error *error) {
        _cleanup_elsewhere_ int fd = consume_fd;

        /* A client may acquire again and again and close what it got: so look before taking more room, and
         * take enough that looking stays rare. */
        int r = 0;
        if (lease->n_handles == lease->room && lease_sweep(lease) > lease->room / 2)
                r = make_room(lease, 2 * lease->room);
        else if (lease->room == 0)
                r = make_room(lease, 1);
        if (r < 0)
                return r;
        r = user_charge(lease->user, CHARGE_HANDLE, error);
        if (r < 0)
                return r;
        lease->serials[lease->n_handles] = 0;
        lease->handles[lease->n_handles++] = steal_fd(&fd);
        return 0;
}

/* Whether the pid still is the process that acquired. Of one from another broker's time only the user is known. */
static bool is_same_process(const struct lease *lease) {
        char path[32];
        struct stat status;
        uint64_t start_time;

        if (lease->client)
                return process_start_time(lease->pid, &start_time) == 0 &&
                       start_time == lease->client->peer.start_time;
        snprintf(path, sizeof(path), "/proc/%d", (int)lease->pid);
        return stat(path, &status) == 0 && status.st_uid == lease->user->uid;
}

void lease_refresh_program(struct lease *lease) {
        char program[sizeof(lease->program)];

        if (!is_same_process(lease))
                return;
        process_program(lease->pid, program, sizeof(program));
        if (strcmp(program, "?") != 0)
                memcpy(lease->program, program, sizeof(program));
}
