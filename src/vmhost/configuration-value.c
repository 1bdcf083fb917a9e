#include "vmhost/configuration-value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "wire/json-line.h"

int value_complain(struct parse *p, const char *format, ...) {
        char reason[320];
        va_list args;

        va_start(args, format);
        vsnprintf(reason, sizeof(reason), format, args);
        va_end(args);
        return error_set(p->error, -EINVAL, "%s:%u: %s", p->path,
                         p->key ? json_line(p->text, p->size, p->key, (long)p->index, p->subkey) : 1, reason);
}

/* The name of what is being read, for complaints. */
static const char *what(const struct parse *p) {
        return p->subkey ? p->subkey : p->key;
}

int value_out_of_memory(struct parse *p) {
        return error_set(p->error, -ENOMEM, "%s: out of memory", p->path);
}

int value_take_text(struct parse *p, json_t *value, size_t min, size_t max, char **ret) {
        size_t length = json_string_length(value);

        if (!json_is_string(value) || strlen(json_string_value(value)) != length)
                return value_complain(p, "\"%s\" must be a text", what(p));
        if (length < min || length > max)
                return value_complain(p, "\"%s\" must be a text of %zu to %zu bytes", what(p), min, max);
        char *copy = strdup(json_string_value(value));
        if (!copy)
                return value_out_of_memory(p);
        free(*ret);
        *ret = copy;
        return 0;
}

int value_take_path(struct parse *p, json_t *value, char **ret) {
        _cleanup_free_ char *text = NULL;

        int r = value_take_text(p, value, 1, 4095, &text);
        if (r < 0)
                return r;
        char *absolute = *text == '/' ? strdup(text) : text_format("%s/%s", p->directory, text);
        if (!absolute)
                return value_out_of_memory(p);
        free(*ret);
        *ret = absolute;
        return 0;
}

int value_take_number(struct parse *p, json_t *value, unsigned min, unsigned max, unsigned *ret) {
        json_int_t number = json_integer_value(value);

        if (!json_is_integer(value) || number < min || number > max)
                return value_complain(p, "\"%s\" must be an integer from %u to %u", what(p), min, max);
        *ret = (unsigned)number;
        return 0;
}

int value_take_bool(struct parse *p, json_t *value, bool *ret) {
        if (!json_is_boolean(value))
                return value_complain(p, "\"%s\" must be true or false", what(p));
        *ret = json_is_true(value);
        return 0;
}

int value_take_choice(struct parse *p, json_t *value, const char *const *choices, unsigned *ret) {
        char list[128] = "";

        for (unsigned i = 0; choices[i]; i++) {
                if (text_equal(json_string_value(value), choices[i])) {
                        *ret = i;
                        return 0;
                }
                size_t n = strlen(list);
                snprintf(list + n, sizeof(list) - n, "%s\"%s\"", i > 0 ? choices[i + 1] ? ", " : " or " : "",
                         choices[i]);
        }
        return value_complain(p, "\"%s\" must be %s", what(p), list);
}

int value_take_array(struct parse *p, json_t *value, size_t max, const char *of, size_t size, void *ret) {
        if (!json_is_array(value) || json_array_size(value) > max)
                return value_complain(p, "\"%s\" must be an array of at most %zu %s", p->key, max, of);
        void *array = calloc(json_array_size(value) + 1, size);
        if (!array)
                return value_out_of_memory(p);
        *(void **)ret = array;
        return 0;
}
