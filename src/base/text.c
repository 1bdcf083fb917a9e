/* Strings: formatting, parsing, names. */
#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/utf8.h"

char *text_format(const char *format, ...) {
        va_list ap;
        char *s;
        int n;

        va_start(ap, format);
        n = vasprintf(&s, format, ap);
        va_end(ap);
        return n < 0 ? NULL : s;
}

bool text_equal(const char *a, const char *b) {
        if (!a || !b)
                return a == b;
        return strcmp(a, b) == 0;
}

bool text_starts_with(const char *s, const char *prefix) {
        return strncmp(s, prefix, strlen(prefix)) == 0;
}

int text_parse_u64(const char *s, uint64_t max, uint64_t *ret) {
        uint64_t value = 0;

        if (!*s)
                return -EINVAL;
        /* The whole text is looked at first: "99x" is malformed whatever its size. */
        for (const char *p = s; *p; p++)
                if (*p < '0' || *p > '9')
                        return -EINVAL;
        for (; *s; s++) {
                if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
                    __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
                        return -ERANGE;
        }
        if (value > max)
                return -ERANGE;
        *ret = value;
        return 0;
}

/* isalnum(3) follows the locale; names do not. */
static bool is_alphanumeric(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool text_is_label(const char *s) {
        size_t n = strlen(s);

        if (n < 1 || n > 63 || s[0] == '-' || s[n - 1] == '-')
                return false;
        for (; *s; s++)
                if (!is_alphanumeric(*s) && *s != '-')
                        return false;
        return true;
}

bool text_is_reserved_label(const char *s) {
        static const char *const reserved[] = { "host", "gateway", "localhost", "wpad" };

        for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
                if (strcasecmp(s, reserved[i]) == 0)
                        return true;
        return false;
}

bool text_is_name(const char *s) {
        size_t n = strlen(s);

        if (n < 1 || n > 63 || !is_alphanumeric(s[0]))
                return false;
        for (; *s; s++)
                if (!is_alphanumeric(*s) && !strchr("-_.", *s))
                        return false;
        return true;
}

bool text_is_uuid(const char *s) {
        if (strlen(s) != 36)
                return false;
        for (size_t i = 0; i < 36; i++) {
                if (i == 8 || i == 13 || i == 18 || i == 23) {
                        if (s[i] != '-')
                                return false;
                } else if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
                        return false;
        }
        return true;
}

void text_make_utf8(char *text) {
        for (size_t left = strlen(text), n; left > 0; text += n, left -= n) {
                n = utf8_sequence(text, left);
                if (n == 0) {
                        *text = '?';
                        n = 1;
                }
        }
}

void text_make_printable(char *text) {
        text_make_utf8(text);
        for (unsigned char *c = (unsigned char *)text; *c; c++)
                if (*c < ' ' || *c == 0x7f)
                        *c = ' ';
                else if (c[0] == 0xc2 && c[1] < 0xa0)
                        c[0] = c[1] = ' ';
}
