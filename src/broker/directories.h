/* Directories: the places of this broker, made and held. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "broker/options.h"

struct directories {
        char *socket; /* the path to listen at */
        char *runtime; /* the directory of the socket */
        char *state;
        char *definitions;
        int lock; /* owned; of the runtime directory */
};

#define DIRECTORIES_INIT ((struct directories){ .lock = -1 })

/* Finds the places and makes those that are not there. 0 or -errno. */
int directories_init(struct directories *ret, const struct options *options, struct error *error);
/* Also ends the lock. */
void directories_deinit(struct directories *directories);

/* Locks the runtime directory, for the life of the broker: two in one would fight over networks and socket. A
 * broker that is just ending is waited for. -EALREADY where another one runs. */
int directories_lock(struct directories *directories, struct error *error);

/* The program berth-network: a new string, or NULL with a text. */
char *directories_find_network_program(const struct options *options, struct error *error);
