/* User: what one uid makes the broker hold, and how much of it it may. */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/list.h"

enum charge {
        CHARGE_CONNECTION,
        CHARGE_NETWORK, /* live networks that an acquire of this user made */
        CHARGE_HANDLE, /* open handles on networks: a file descriptor of the broker each */
        N_CHARGES,
};

#define USER_CONNECTIONS_MAX 512
#define USER_NETWORKS_MAX 32
#define USER_HANDLES_MAX 8192
/* Per network; enforced by the network's process. */
#define USER_INTERFACES_MAX 253

struct users {
        struct list list;
};

struct user {
        struct list link;
        unsigned n_references;
        uid_t uid;
        unsigned charges[N_CHARGES];
};

/* A new reference, making the user at the first; NULL when memory is short. */
struct user *users_get(struct users *users, uid_t uid);
struct user *user_ref(struct user *user);
/* NULL is fine. Returns NULL. */
struct user *user_unref(struct user *user);

/* Counts one; 0, or -EDQUOT with a text that names the limit. Undone with the object it was made for. */
int user_charge(struct user *user, enum charge charge, struct error *error);
void user_discharge(struct user *user, enum charge charge);
