/* Request: what a control client asks. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * A request is an object with "method" and, for stop, "timeout_seconds", read as the reference's Go program
 * reads it: keys in any letter case, the last of several wins, null changes nothing, unknown members are
 * passed over; bad UTF-8 and lone surrogates become U+FFFD.
 */
struct request {
        char *method; /* owned; ends with a NUL besides, and may have one inside */
        size_t method_size;
        int64_t timeout_seconds;
};

#define REQUEST_INIT ((struct request){ .method = NULL })

/*
 * Parses a text that a scanner found to be one JSON value. 0; -ENOMEM; or -EINVAL with *ret_reason, a new
 * string: the text that Go has for a value of a wrong type. On failure *ret is untouched.
 */
int request_parse(const char *text, size_t size, struct request *ret, char **ret_reason);
void request_deinit(struct request *request);
