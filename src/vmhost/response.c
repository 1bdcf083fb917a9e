#include "vmhost/response.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

static void append(struct response *r, const char *data, size_t size) {
        if (r->failed)
                return;
        if (r->room - r->size < size) {
                size_t room = r->room ? r->room : 256;
                while (room - r->size < size)
                        room *= 2;
                char *grown = realloc(r->data, room);
                if (!grown) {
                        r->failed = true;
                        return;
                }
                r->data = grown;
                r->room = room;
        }
        memcpy(r->data + r->size, data, size);
        r->size += size;
}

static void append_text(struct response *r, const char *text) {
        append(r, text, strlen(text));
}

/* The escape of an ASCII character, or NULL where it stands for itself. */
static const char *escape_ascii(unsigned char c, char buffer[static 8]) {
        switch (c) {
        case '"':
                return "\\\"";
        case '\\':
                return "\\\\";
        case '\b':
                return "\\b";
        case '\f':
                return "\\f";
        case '\n':
                return "\\n";
        case '\r':
                return "\\r";
        case '\t':
                return "\\t";
        default:
                if (c >= ' ' && c != '<' && c != '>' && c != '&')
                        return NULL;
                snprintf(buffer, 8, "\\u%04x", c);
                return buffer;
        }
}

static void append_string(struct response *r, const char *s, size_t size) {
        size_t plain = 0; /* s[plain..i) is still to be copied as it is */

        append(r, "\"", 1);
        for (size_t i = 0; i < size;) {
                char buffer[8];
                const char *escape = NULL;
                size_t length = utf8_sequence(s + i, size - i);

                if (length == 1)
                        escape = escape_ascii((unsigned char)s[i], buffer);
                else if (length == 0)
                        escape = "\\ufffd";
                else if (length == 3 && memcmp(s + i, "\xe2\x80\xa8", 3) == 0)
                        escape = "\\u2028";
                else if (length == 3 && memcmp(s + i, "\xe2\x80\xa9", 3) == 0)
                        escape = "\\u2029";
                if (escape) {
                        append(r, s + plain, i - plain);
                        append_text(r, escape);
                }
                i += length ? length : 1;
                if (escape)
                        plain = i;
        }
        append(r, s + plain, size - plain);
        append(r, "\"", 1);
}

static void append_integer(struct response *r, int64_t value) {
        char buffer[24];
        int n = snprintf(buffer, sizeof(buffer), "%lld", (long long)value);

        append(r, buffer, (size_t)n);
}

/* Values of ours, some levels deep: the recursion is bounded by what we build. */
static void append_json(struct response *r, const json_t *value) {
        const char *separator = "";
        const char *key;
        json_t *member;
        size_t i;
        char buffer[32];

        switch (value ? json_typeof(value) : JSON_NULL) {
        case JSON_OBJECT:
                append(r, "{", 1);
                json_object_foreach((json_t *)value, key, member) {
                        append_text(r, separator);
                        append_string(r, key, strlen(key));
                        append(r, ":", 1);
                        append_json(r, member);
                        separator = ",";
                }
                append(r, "}", 1);
                break;
        case JSON_ARRAY:
                append(r, "[", 1);
                json_array_foreach(value, i, member) {
                        append_text(r, separator);
                        append_json(r, member);
                        separator = ",";
                }
                append(r, "]", 1);
                break;
        case JSON_STRING:
                append_string(r, json_string_value(value), json_string_length(value));
                break;
        case JSON_INTEGER:
                append_integer(r, json_integer_value(value));
                break;
        case JSON_REAL:
                snprintf(buffer, sizeof(buffer), "%.17g", json_real_value(value));
                append_text(r, buffer);
                break;
        case JSON_TRUE:
                append_text(r, "true");
                break;
        case JSON_FALSE:
                append_text(r, "false");
                break;
        default:
                append_text(r, "null");
                break;
        }
}

static void append_key(struct response *r, const char *key) {
        if (r->size > 1)
                append(r, ",", 1);
        append_string(r, key, strlen(key));
        append(r, ":", 1);
}

void response_begin(struct response *r, bool ok) {
        append_text(r, ok ? "{\"ok\":true" : "{\"ok\":false");
}

void response_begin_bare(struct response *r) {
        append(r, "{", 1);
}

void response_add_string(struct response *r, const char *key, const char *value, size_t size) {
        append_key(r, key);
        append_string(r, value, size);
}

void response_add_text(struct response *r, const char *key, const char *value) {
        response_add_string(r, key, value, strlen(value));
}

void response_add_integer(struct response *r, const char *key, int64_t value) {
        append_key(r, key);
        append_integer(r, value);
}

void response_add_json(struct response *r, const char *key, const json_t *value) {
        append_key(r, key);
        append_json(r, value);
}

void response_add_members(struct response *r, const json_t *object) {
        const char *key;
        json_t *member;

        json_object_foreach((json_t *)object, key, member)
                response_add_json(r, key, member);
}

int response_end(struct response *r) {
        append(r, "}\n", 2);
        return r->failed ? -ENOMEM : 0;
}

void response_deinit(struct response *r) {
        free(r->data);
        *r = RESPONSE_INIT;
}
