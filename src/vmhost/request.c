#include "vmhost/request.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"

/* Into a text that is well-formed JSON: nothing below checks syntax again. */
struct cursor {
        const char *p, *end;
};

static void skip_space(struct cursor *c) {
        while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r' || *c->p == '\n'))
                c->p++;
}

/* Past the closing quote. */
static void skip_string(struct cursor *c) {
        for (c->p++; *c->p != '"'; c->p++)
                c->p += *c->p == '\\';
        c->p++;
}

static void skip_value(struct cursor *c) {
        size_t depth = 0;

        do {
                skip_space(c);
                if (*c->p == '"') {
                        skip_string(c);
                } else if (*c->p == '{' || *c->p == '[') {
                        depth++;
                        c->p++;
                } else if (*c->p == '}' || *c->p == ']') {
                        depth--;
                        c->p++;
                } else if (*c->p == ',' || *c->p == ':') {
                        c->p++;
                } else {
                        while (c->p < c->end && !strchr(" \t\r\n,:]}", *c->p))
                                c->p++;
                }
        } while (depth > 0);
}

static unsigned hex4(const char *p) {
        unsigned value = 0;

        for (int i = 0; i < 4; i++) {
                unsigned char d = (unsigned char)p[i];
                value = value << 4 | (unsigned)(d <= '9' ? d - '0' : (d | 0x20) - 'a' + 10);
        }
        return value;
}

/* At the backslash of an escape; returns the code point and goes past it. */
static uint32_t take_escape(struct cursor *c) {
        static const char escapes[] = "b\bf\fn\nr\rt\t";
        char kind = c->p[1];

        c->p += 2;
        if (kind != 'u') {
                for (const char *pair = escapes; *pair; pair += 2)
                        if (pair[0] == kind)
                                return (uint32_t)pair[1];
                return (uint32_t)kind;
        }
        uint32_t unit = hex4(c->p);
        c->p += 4;
        if (unit < 0xd800 || unit > 0xdfff)
                return unit;
        /* A pair of surrogates is one code point; half of one is none, and what follows stands for itself. */
        if (unit < 0xdc00 && c->end - c->p >= 6 && c->p[0] == '\\' && c->p[1] == 'u') {
                uint32_t low = hex4(c->p + 2);
                if (low >= 0xdc00 && low <= 0xdfff) {
                        c->p += 6;
                        return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                }
        }
        return UTF8_REPLACEMENT;
}

/* The string at the cursor, decoded: new, ended by a NUL besides. NULL when memory is short. */
static char *take_string(struct cursor *c, size_t *ret_size) {
        struct cursor whole = *c;

        skip_string(&whole);
        /* No byte becomes more than the three of U+FFFD. */
        char *out = malloc(3 * (size_t)(whole.p - c->p) + 1);
        if (!out)
                return NULL;
        size_t n = 0;
        c->p++;
        while (*c->p != '"') {
                if (*c->p == '\\') {
                        n += utf8_encode(take_escape(c), out + n);
                        continue;
                }
                size_t length = utf8_sequence(c->p, (size_t)(whole.p - c->p));
                if (length == 0) {
                        n += utf8_encode(UTF8_REPLACEMENT, out + n);
                        c->p++;
                        continue;
                }
                memcpy(out + n, c->p, length);
                n += length;
                c->p += length;
        }
        c->p++;
        out[n] = '\0';
        *ret_size = n;
        return out;
}

/* Go folds by Unicode's simple folding, under which the long s is an s too. The Kelvin sign would be a k,
 * which no name has. */
static bool key_matches(const char *key, size_t size, const char *name) {
        size_t i = 0;

        for (; *name; name++) {
                if (*name == 's' && size - i >= 2 && memcmp(key + i, "\xc5\xbf", 2) == 0) {
                        i += 2;
                        continue;
                }
                if (i == size)
                        return false;
                char c = key[i++];
                if (c >= 'A' && c <= 'Z')
                        c = (char)(c | 0x20);
                if (c != *name)
                        return false;
        }
        return i == size;
}

/* What Go calls the value at the cursor in an error. */
static const char *kind_of(const struct cursor *c) {
        switch (*c->p) {
        case '{':
                return "object";
        case '[':
                return "array";
        case '"':
                return "string";
        case 't':
        case 'f':
                return "bool";
        default:
                return "number";
        }
}

/* The first error is the one that is told, as in Go; reading goes on behind it. */
static int complain(char **reason, char *text) {
        if (!text)
                return -ENOMEM;
        if (*reason)
                free(text);
        else
                *reason = text;
        return 0;
}

static int take_method(struct cursor *c, struct request *request, char **reason) {
        size_t size;

        if (*c->p != '"') {
                int r = complain(reason, text_format("json: cannot unmarshal %s into Go struct field "
                                                     "Request.method of type vmhost.Method",
                                                     kind_of(c)));
                skip_value(c);
                return r;
        }
        char *method = take_string(c, &size);
        if (!method)
                return -ENOMEM;
        free(request->method);
        request->method = method;
        request->method_size = size;
        return 0;
}

/* A whole number that fits, as ParseInt takes it: no fraction, no exponent. */
static bool parse_integer(const char *s, size_t size, int64_t *ret) {
        bool negative = s[0] == '-';
        int64_t value = 0;

        for (size_t i = negative; i < size; i++) {
                if (s[i] < '0' || s[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
                    __builtin_sub_overflow(value, s[i] - '0',
                                           &value)) /* downwards: the lowest has no positive */
                        return false;
        }
        if (!negative && __builtin_sub_overflow(0, value, &value))
                return false;
        *ret = value;
        return true;
}

static int take_timeout(struct cursor *c, struct request *request, char **reason) {
        const char *kind = kind_of(c), *start = c->p;

        skip_value(c);
        int size = (int)(c->p - start);
        bool number = *kind == 'n';
        if (number && parse_integer(start, (size_t)size, &request->timeout_seconds))
                return 0;
        return complain(reason, text_format("json: cannot unmarshal %s%s%.*s into Go struct field "
                                            "Request.timeout_seconds of type int",
                                            kind, number ? " " : "", number ? size : 0, start));
}

static int take_member(struct cursor *c, struct request *request, char **reason) {
        size_t size;
        _cleanup_free_ char *key = take_string(c, &size);

        if (!key)
                return -ENOMEM;
        skip_space(c);
        c->p++; /* the colon */
        skip_space(c);
        bool method = key_matches(key, size, "method"), timeout = key_matches(key, size, "timeout_seconds");
        if (*c->p == 'n' || (!method && !timeout)) {
                skip_value(c);
                return 0;
        }
        return method ? take_method(c, request, reason) : take_timeout(c, request, reason);
}

int request_parse(const char *text, size_t size, struct request *ret, char **ret_reason) {
        _cleanup_(request_deinit) struct request request = REQUEST_INIT;
        _cleanup_free_ char *reason = NULL;
        struct cursor c = { .p = text, .end = text + size };
        int r = 0;

        skip_space(&c);
        if (*c.p == '{') {
                for (c.p++, skip_space(&c); r == 0 && *c.p != '}'; skip_space(&c)) {
                        r = take_member(&c, &request, &reason);
                        skip_space(&c);
                        if (r == 0 && *c.p == ',') {
                                c.p++;
                                skip_space(&c);
                        }
                }
        } else if (*c.p != 'n') {
                r = complain(&reason,
                             text_format("json: cannot unmarshal %s into Go value of type vmhost.Request",
                                         kind_of(&c)));
        }
        if (r == 0 && !request.method) {
                request.method = strdup("");
                r = request.method ? 0 : -ENOMEM;
        }
        if (r < 0)
                return r;
        if (reason) {
                *ret_reason = steal_ptr(reason);
                return -EINVAL;
        }
        *ret = request;
        request = REQUEST_INIT;
        return 0;
}

void request_deinit(struct request *request) {
        free(request->method);
        *request = REQUEST_INIT;
}
