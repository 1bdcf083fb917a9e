/* Scrollback: the last bytes of a stream. */
#pragma once

#include <stddef.h>

struct scrollback;

/* Keeps at most `size` bytes. -ENOMEM. */
int scrollback_new(struct scrollback **ret, size_t size);
struct scrollback *scrollback_free(struct scrollback *scrollback);

void scrollback_add(struct scrollback *scrollback, const char *data, size_t size);
/* In place of all that was there. */
void scrollback_set(struct scrollback *scrollback, const char *data, size_t size);
/* A copy, the oldest byte first, and its size; NULL when memory is short. To be freed. */
char *scrollback_copy(const struct scrollback *scrollback, size_t *ret_size);
