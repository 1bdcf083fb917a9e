/* Spawn: starts a program that outlives us, with chosen file descriptors, confined. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

struct spawn {
        char *const *arguments; /* the program's path first; ends with NULL */
        const int *fds; /* inherited, under the same numbers; all above 2 */
        size_t n_fds;
        int log; /* becomes its standard output and error; standard input is /dev/null */
        bool confined; /* confine_enter with `ruleset` before it runs */
        int ruleset; /* or -1 */
        bool orphan; /* it is init's child instead of ours: nobody here waits for it */
        /* Called with its pid while it waits to be the program, or NULL; not with `orphan`. -errno ends it.
         * It waits with no other file descriptors than those it was given. */
        int (*place)(pid_t pid, void *data, struct error *error);
        void *data;
};

/*
 * Starts it in a session of its own, with no signal blocked or ignored and umask 077, and returns when it
 * runs; or -errno, with the step that failed, and then there is no process. *ret_pid is its pid; NULL with
 * `orphan`. May be called from any thread.
 */
int spawn_run(const struct spawn *spawn, pid_t *ret_pid, struct error *error);
