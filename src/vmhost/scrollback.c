#include "vmhost/scrollback.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct scrollback {
        size_t max, size;
        size_t next; /* where the next byte goes; where it is full, the oldest is there */
        char bytes[];
};

int scrollback_new(struct scrollback **ret, size_t size) {
        /* Pages that were not written to yet take no memory. */
        struct scrollback *scrollback = calloc(1, sizeof(*scrollback) + size);

        if (!scrollback)
                return -ENOMEM;
        scrollback->max = size;
        *ret = scrollback;
        return 0;
}

struct scrollback *scrollback_free(struct scrollback *scrollback) {
        free(scrollback);
        return NULL;
}

void scrollback_add(struct scrollback *s, const char *data, size_t size) {
        if (size > s->max) {
                data += size - s->max;
                size = s->max;
        }
        size_t first = size < s->max - s->next ? size : s->max - s->next;
        memcpy(s->bytes + s->next, data, first);
        memcpy(s->bytes, data + first, size - first);
        s->next = (s->next + size) % s->max;
        s->size = s->size + size < s->max ? s->size + size : s->max;
}

void scrollback_set(struct scrollback *s, const char *data, size_t size) {
        s->size = s->next = 0;
        scrollback_add(s, data, size);
}

char *scrollback_copy(const struct scrollback *s, size_t *ret_size) {
        char *copy = malloc(s->size + 1);

        if (!copy)
                return NULL;
        if (s->size < s->max) {
                memcpy(copy, s->bytes, s->size);
        } else {
                memcpy(copy, s->bytes + s->next, s->max - s->next);
                memcpy(copy + s->max - s->next, s->bytes, s->next);
        }
        *ret_size = s->size;
        return copy;
}
