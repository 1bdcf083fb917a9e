/* Leftover: a program of ours that outlived whoever should have ended it. */
#pragma once

#include <sys/types.h>

/*
 * PR_SET_PDEATHSIG ends what we start, but the kernel forgets it when a program changes its user (prctl(2)),
 * as dnsmasq does in system mode and pasta in user mode. So the pid is written down where it outlives all of us, with the start time that
 * makes it unmistakable.
 */

/* Writes down who runs. A failure is logged: it costs no more than what this is for. */
void leftover_note(const char *path, pid_t pid);
/* Kills who was written down, if it is still that process and its program's base name begins with `program`
 * (pasta runs as passt, passt.avx2...); waits for its end. */
void leftover_end(const char *path, const char *program);
