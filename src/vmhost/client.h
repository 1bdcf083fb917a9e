/* Client: one connection to the control socket. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/list.h"
#include "loop/loop.h"
#include "vmhost/supervisor.h"

/*
 *   READING ──▶ WRITING ──▶ closed           one exchange, within CLIENT_DEADLINE
 *      ├──▶ FOLLOWING ──▶ closed             by the client, or when it does not read
 *      └──▶ WAITING ──▶ WRITING ──▶ closed   at the VM's end
 *
 * A client holds at most CLIENT_REQUEST_MAX bytes of a request and CLIENT_OUTPUT_MAX of what it does not
 * read.
 */
#define CLIENT_DEADLINE 30000000U /* microseconds */
#define CLIENT_REQUEST_MAX 65536 /* bytes */
#define CLIENT_OUTPUT_MAX (512 * 1024)

enum client_state { CLIENT_READING, CLIENT_WRITING, CLIENT_FOLLOWING, CLIENT_WAITING };

struct client;

struct client_owner {
        struct loop *loop;
        struct supervisor *supervisor;
        struct list clients; /* the oldest first */
        unsigned n_reading; /* in READING or WRITING: with a deadline, and may be turned out for others */
        unsigned n_staying; /* FOLLOWING or WAITING */
        unsigned staying_max;
};

/* The connection (non-blocking) is consumed, on failure too. The client belongs to the owner's list: a
 * request that is there already is answered before the return, and then the client is gone. 0 or -errno. */
int client_new(struct client_owner *owner, int consume_fd);

/* The one that has been at its exchange for longest, or NULL. */
struct client *client_find_oldest(struct client_owner *owner);
/* Answers {"ok":false,"error":TEXT} as far as the socket takes it, and frees. */
void client_turn_out(struct client *client, const char *text);
/* A line for those who follow. */
void clients_send_event(struct client_owner *owner, const json_t *event);
/* The VM has ended for good: answers those who wait, and closes all. What a client does not take at once is
 * lost. */
void clients_finish(struct client_owner *owner);
void clients_free(struct client_owner *owner);
