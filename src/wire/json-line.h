/* Json-line: where in a JSON text a member stands, for messages to the one who wrote it. */
#pragma once

#include <stddef.h>

/*
 * The line (from 1) of member `key` of the outermost object; with `index` >= 0, of that element of its array;
 * with `subkey`, of that member of the element, or of the object that is the value where index is negative.
 * Where a part of the way is not found, the line of the last part that was. Safe on any text; keys with
 * escapes are not found.
 */
unsigned json_line(const char *text, size_t size, const char *key, long index, const char *subkey);
