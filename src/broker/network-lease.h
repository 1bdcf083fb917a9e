/* Network-lease: the leases of a network, as its process is to know them. */
#pragma once

#include <sys/types.h>

#include "base/error.h"

struct lease;
struct network;
struct user;

/* A new lease without a handle; NULL when memory is short. */
struct lease *network_new_lease(struct network *network, struct user *user, pid_t pid, const char *program);
/* Makes a handle for the client: the fd to give away. 0, -EDQUOT or another -errno. */
int network_add_handle(struct network *network, struct lease *lease, int *ret_fd, struct error *error);
/* Ends a lease and frees it. */
void network_end_lease(struct lease *lease);

/* For network.c. Sends what the process does not know yet, as fast as it takes it. */
void network_send_leases(struct network *network);
/* What a new process cannot know: which leases there are, and which of those that its forerunner knew are no
 * more. */
void network_resend_leases(struct network *network);
