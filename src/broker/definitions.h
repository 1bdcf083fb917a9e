/* Definitions: the directory networks.d, and the networks that are built in. */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "broker/definition.h"

/*
 * Finds the definition of a name in DIRECTORY/NAME.json, or built in where there is no such file. The file is
 * read each time, so a change holds from the next making of the network on. 0; -ENOENT (nobody defines it);
 * another -errno with a text "FILE:LINE: reason" where a file does but is wrong.
 */
int definitions_find(const char *directory, const char *name, struct definition **ret, struct error *error);

/*
 * The `definitions` of `list` (berth-protocol(7)): of all names, or of `name` alone. A wrong file is an entry
 * with `error`. NULL when memory is short.
 */
json_t *definitions_list(const char *directory, const char *name);
