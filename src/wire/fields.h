/* Fields: taking a JSON object apart strictly, by a table. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum field_type {
        FIELD_STRING, /* const char *, borrowed from the object; no NUL inside */
        FIELD_BOOL, /* bool */
        FIELD_U64, /* uint64_t, an integer from `min` to `max` */
        FIELD_OBJECT, /* json_t *, borrowed */
        FIELD_ARRAY, /* json_t *, borrowed */
};

struct field {
        const char *key;
        enum field_type type;
        bool required;
        void *ret; /* untouched when the key is absent */
        uint64_t min, max; /* for FIELD_U64 */
};

/*
 * Fills what the table names. An unknown key, a wrong type, an integer out of range or a missing required key is
 * -EINVAL with a text such as `"mtu" must be an integer from 68 to 65520`. With `tolerant`, unknown keys are ignored
 * (for replies).
 */
int fields_parse(json_t *object, const struct field *fields, size_t n_fields, bool tolerant, struct error *error);
