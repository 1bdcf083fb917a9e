/* Response: a line of JSON as the reference's encoder writes it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Members stand in the order in which they are added, compact. In strings '<', '>', '&', U+2028 and U+2029
 * are escaped as Go's encoding/json does for HTML's sake, and bytes that are no UTF-8 are the escape \ufffd.
 * A failure to get memory is kept and told by response_end: callers need not look at each step.
 */
struct response {
        char *data; /* owned */
        size_t size, room;
        bool failed;
};

#define RESPONSE_INIT ((struct response){ .data = NULL })

/* {"ok":OK ... */
void response_begin(struct response *response, bool ok);
/* { ... : for lines of events, which have no "ok". */
void response_begin_bare(struct response *response);
void response_add_string(struct response *response, const char *key, const char *value, size_t size);
void response_add_text(struct response *response, const char *key, const char *value);
void response_add_integer(struct response *response, const char *key, int64_t value);
/* `value` is borrowed; NULL is written as null. */
void response_add_json(struct response *response, const char *key, const json_t *value);
/* All members of an object, behind what is there. */
void response_add_members(struct response *response, const json_t *object);
/* ...}\n. 0 or -ENOMEM. */
int response_end(struct response *response);
void response_deinit(struct response *response);
