#include "wire/json-line.h"

#include <stdbool.h>
#include <string.h>

struct cursor {
        const char *p, *end;
        unsigned line;
};

static void advance(struct cursor *c) {
        if (*c->p++ == '\n')
                c->line++;
}

static void skip_space(struct cursor *c) {
        while (c->p < c->end && strchr(" \t\r\n", *c->p) && *c->p)
                advance(c);
}

static bool skip_char(struct cursor *c, char expected) {
        skip_space(c);
        if (c->p >= c->end || *c->p != expected)
                return false;
        c->p++;
        return true;
}

/* Past the closing quote; the content stays where it is. False where no string begins or ends. */
static bool skip_string(struct cursor *c, const char **ret, size_t *ret_size) {
        if (!skip_char(c, '"'))
                return false;
        const char *start = c->p;
        while (c->p < c->end && *c->p != '"') {
                if (*c->p == '\\' && c->p + 1 < c->end)
                        advance(c);
                advance(c);
        }
        if (c->p >= c->end)
                return false;
        *ret = start;
        *ret_size = (size_t)(c->p - start);
        c->p++;
        return true;
}

/* Past a whole value: up to the comma or the bracket that ends it on its own level. */
static bool skip_value(struct cursor *c) {
        const char *string;
        size_t size, depth = 0;

        for (skip_space(c); c->p < c->end; skip_space(c)) {
                if (*c->p == '"') {
                        if (!skip_string(c, &string, &size))
                                return false;
                        continue;
                }
                if (depth == 0 && strchr(",]}", *c->p) && *c->p)
                        return true;
                if (*c->p == '{' || *c->p == '[')
                        depth++;
                else if (*c->p == '}' || *c->p == ']')
                        depth--;
                c->p++;
        }
        return false;
}

/* To the value of a member of the object at the cursor; *ret_line is the line of its key. */
static bool find_member(struct cursor *c, const char *key, unsigned *ret_line) {
        if (!skip_char(c, '{'))
                return false;
        do {
                const char *found;
                size_t size;

                skip_space(c);
                unsigned line = c->line;
                if (!skip_string(c, &found, &size) || !skip_char(c, ':'))
                        return false;
                if (size == strlen(key) && memcmp(found, key, size) == 0) {
                        *ret_line = line;
                        return true;
                }
                if (!skip_value(c))
                        return false;
        } while (skip_char(c, ','));
        return false;
}

static bool find_element(struct cursor *c, long index, unsigned *ret_line) {
        if (!skip_char(c, '['))
                return false;
        for (; index > 0; index--)
                if (!skip_value(c) || !skip_char(c, ','))
                        return false;
        skip_space(c);
        *ret_line = c->line;
        return true;
}

unsigned json_line(const char *text, size_t size, const char *key, long index, const char *subkey) {
        struct cursor c = { .p = text, .end = text + size, .line = 1 };
        unsigned line = 1;

        if (!find_member(&c, key, &line))
                return line;
        if (index >= 0 && !find_element(&c, index, &line))
                return line;
        if (subkey)
                find_member(&c, subkey, &line);
        return line;
}
