/* Configuration values: taken from config.json one by one, each complaint with the line that it is about. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define VALUE_NO_INDEX SIZE_MAX

/* A file while it is parsed. */
struct parse {
        const char *directory; /* of the file, absolute */
        const char *path, *text;
        size_t size;
        struct error *error;
        /* Where a complaint points at the moment: a member, an element of its array (or VALUE_NO_INDEX), a
         * member of that (or NULL). */
        const char *key;
        size_t index;
        const char *subkey;
};

/* Both return the error that they set: -EINVAL with the line before the text, and -ENOMEM. */
int value_complain(struct parse *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
int value_out_of_memory(struct parse *p);

/* All that follow return 0, with *ret filled; or a complaint, or -ENOMEM. */

/* A string's own copy, in *ret, in place of what was there; of min to max bytes. */
int value_take_text(struct parse *p, json_t *value, size_t min, size_t max, char **ret);
/* The same of a path, from the directory of the file where it is relative. */
int value_take_path(struct parse *p, json_t *value, char **ret);
int value_take_number(struct parse *p, json_t *value, unsigned min, unsigned max, unsigned *ret);
int value_take_bool(struct parse *p, json_t *value, bool *ret);
/* The index of the word that it is; the choices end with NULL. */
int value_take_choice(struct parse *p, json_t *value, const char *const *choices, unsigned *ret);
/* Room for the elements of an array, each of `size` bytes and all zero, and one more, in the pointer *ret;
 * `of` says in a complaint what they are. */
int value_take_array(struct parse *p, json_t *value, size_t max, const char *of, size_t size, void *ret);
