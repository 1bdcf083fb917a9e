/* Places: where sockets, state and definitions live in user mode and in system mode. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/*
 *               user mode                           system mode
 *   runtime     $XDG_RUNTIME_DIR/berth              /run/berth
 *   state       $XDG_DATA_HOME/berth                /var/lib/berth
 *   definitions $XDG_CONFIG_HOME/berth/networks.d   /etc/berth/networks.d
 *
 * XDG_DATA_HOME is ~/.local/share and XDG_CONFIG_HOME ~/.config where they are not set (XDG Base Directory
 * Specification). Without XDG_RUNTIME_DIR it is /run/user/UID where that directory exists and is ours; otherwise
 * -ENOENT with a text that says what to set.
 */
struct place {
        bool system;
        char *runtime;
        char *state;
        char *definitions;
        char *broker_socket; /* BERTH_SOCKET, or runtime/broker.sock */
};

/* Fills *ret, to be released with place_deinit. Creates nothing. 0 or -errno. */
int place_init(struct place *ret, bool system, struct error *error);
void place_deinit(struct place *place);

/* The state directory alone, which asks for no runtime directory. *ret is the caller's, to be freed. */
int place_state(bool system, char **ret, struct error *error);
