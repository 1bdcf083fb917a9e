/* Terminal: raw while a console is attached, and as it was afterwards, whatever happens. */
#pragma once

#include <sys/types.h>
#include <termios.h>

#include "base/error.h"

/*
 * A small process of ours stands by while the terminal is raw. It puts the terminal back when we end without
 * having done so ourselves: by a bug, or by a signal that cannot be caught.
 */
struct terminal {
        int fd; /* borrowed; -1: not raw */
        struct termios saved;
        pid_t guard;
        int guard_pipe; /* its end tells the guard of ours; a byte tells it that all is well */
};

#define TERMINAL_INIT ((struct terminal){ .fd = -1, .guard_pipe = -1 })

/* Makes the terminal raw: every byte that is typed comes through, nothing is echoed. 0 or -errno. */
int terminal_enter(struct terminal *terminal, int fd, struct error *error);
/* Puts it back; fine when it is not raw. */
void terminal_leave(struct terminal *terminal);
