/* Detach: leaves the starter behind, and tells it how the start went. */
#pragma once

#include "base/error.h"

/*
 * Forks twice: the grandchild belongs to init, which reaps it, so that no starter that never waits keeps a
 * zombie that looks alive; and it leads no session, so that it never gets a terminal. It returns here, with
 * *ret_ready_fd (owned). The starter waits for one word on the other end of that pipe and does not return: it
 * ends with EXIT_SUCCESS for "ready", and prints anything else, an error, and ends with EXIT_FAILURE or the
 * status that came with it. An end without a word is an error, with `log` named. The starter closes its copy
 * of `lock`: it may be suspended for longer than the grandchild lives, and is to hold up no other start.
 */
int detach(const char *log, int lock, int *ret_ready_fd, struct error *error);
/* The starter's exit status and the word, and the end of the pipe. Fine on -1, without a starter. */
void detach_tell(int *ready_fd, int status, const char *line);
/* Standard input from nowhere, standard output and error to a file that is cut at its start where it has
 * grown beyond `max` bytes. 0 or -errno. */
int detach_redirect(const char *log, long max, struct error *error);
