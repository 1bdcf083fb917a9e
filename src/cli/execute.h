/* Execute: becomes another program, and tells apart why it could not. */
#pragma once

#include "base/error.h"
#include "cli/command.h"

/* The program's path: as it is when it holds a '/', else as PATH and the directories of administrators have
 * it. *ret is a new string. STATUS_OK, STATUS_NOT_FOUND, STATUS_NOT_EXECUTABLE or STATUS_NOT_RUN, with a
 * text. */
enum status execute_find(const char *program, char **ret, struct error *error);

/* Replaces this process. Returns only on failure: one of the statuses above. */
enum status execute(const char *path, char **argv, struct error *error);

/* Writes the error to standard error; returns status. For a command whose exit status says more than its
 * failure. */
int execute_complain(enum status status, const struct error *error);
