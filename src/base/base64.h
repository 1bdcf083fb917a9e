/* Base64: bytes as text (RFC 4648, section 4). */
#pragma once

#include <stddef.h>

/* A new string, or NULL when memory is short. */
char *base64_encode(const void *data, size_t size);
/* A new array, NUL-terminated besides, and its size; -EINVAL for what is no base64 with its padding; -ENOMEM.
 */
int base64_decode(const char *text, char **ret, size_t *ret_size);
