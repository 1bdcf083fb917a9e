/* Tail: the last lines of what was printed to a terminal, as a person saw them. */
#pragma once

#include <stddef.h>

#define TAIL_MAX (32 * 1024) /* bytes of the file that are looked at */
#define TAIL_LINES 50 /* of a console, for the record of an end: a panic of Linux and what led to it */

/*
 * The last lines of a file that are not blank, at most `max`: an array of new strings with a NULL behind
 * them, fit for a record. They are of well-formed UTF-8, without control characters and the escape sequences
 * of ECMA-48. NULL when memory is short; nothing where the file cannot be read, or fd is no file.
 */
char **tail_read(int fd, size_t max);
void tail_free(char **lines);
void tail_freep(char ***lines);
