/* Console: the VM's serial console, from QEMU's socket to any number of viewers. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/tail.h" /* TAIL_LINES, for console_tail */
#include "loop/loop.h"

/*
 * QEMU itself writes the log, from the first byte on, whether anybody supervises it or not. A console is the
 * one client of QEMU's socket; it keeps the last bytes, and serves console.sock: who connects there gets
 * those bytes first, then all that comes, and what he sends is typed into the VM. A viewer that does not read
 * loses its connection, and costs nobody else anything.
 */
struct console;

#define CONSOLE_SOCKET "console.sock"
#define CONSOLE_SCROLLBACK (64 * 1024) /* bytes */
#define CONSOLE_VIEWERS_MAX 32

/*
 * Listens in the VM's directory (what is there by that name is removed: the caller holds the VM's lock).
 * `log_max` is in bytes: where the log exceeds it, its older part becomes console.log.1. The loop must
 * outlive the console.
 */
int console_new(struct console **ret, struct loop *loop, const char *directory, uint64_t log_max,
                struct error *error);
/* Removes the socket and drops the viewers. */
struct console *console_free(struct console *console);
void console_freep(struct console **console);

/* Connects to the console of a QEMU that was just started or is adopted; in the latter case the scrollback is
 * taken from the log. One that is stopped may take no connection: then it is tried again, from the loop. When
 * that QEMU ends, viewers stay, for the next. 0 or -errno. */
int console_connect(struct console *console, struct error *error);

/* Before a new QEMU is started: the log of the run before becomes console.log.1. 0 or -errno. */
int console_begin_run(const char *directory);
/* The last lines of the log as an array of strings, without control characters: fit for a record. Works
 * without a console. A new reference; empty where there is no log. */
json_t *console_tail(const char *directory, size_t lines);
