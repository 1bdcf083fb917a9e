/* Signals: those that a command takes from a file descriptor. */
#pragma once

#include <signal.h>
#include <stddef.h>

#include "base/error.h"

/*
 * Blocks these signals and watches for them; *ret_before is the mask to go back to. One that the starter
 * ignores stays ignored, as SIGHUP under nohup(1), and SIGINT and SIGQUIT in a job that a shell script runs
 * in the background: the kernel keeps a blocked signal even where it is ignored (sig_ignored), and a signalfd
 * would have it. The fd, or -errno.
 */
int signals_watch(const int *numbers, size_t n, sigset_t *ret_before, struct error *error);
/* The signal that came, or 0. */
int signals_take(int fd);
