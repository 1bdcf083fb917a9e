/* Message: a text for people as JSON. */
#pragma once

#include <jansson.h>

/* The text as a JSON string. It may quote bytes of a peer's or a file's, cut in the middle of a character:
 * where it is no UTF-8, all that is not ASCII becomes '?'. NULL when memory is short. */
json_t *message_json(const char *text);
