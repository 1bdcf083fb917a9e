/* probe: the test guest's network tool, one static program with subcommands. It runs on the host side as
 * well. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Subcommands. argv[0] is the subcommand's name; each returns an exit status. */
int frame_send_main(int argc, char **argv);
int frame_listen_main(int argc, char **argv);
int serve_main(int argc, char **argv);
int answer_main(int argc, char **argv);
int fetch_main(int argc, char **argv);
int stream_serve_main(int argc, char **argv);
int stream_main(int argc, char **argv);
int resolve_main(int argc, char **argv);

/* Ends the program with status 1 and a line on standard error: a test tool has nobody to hand an error to. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* As die, and appends the system's text for errno. */
_Noreturn void die_errno(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A decimal number up to max, or the end of the program. */
uint64_t parse_number(const char *s, uint64_t max);
/* CLOCK_MONOTONIC in milliseconds. */
uint64_t now_ms(void);
/* All of the data, or the end of the program. */
void write_whole(int fd, const void *data, size_t size);
