/* Errors: a negative errno for the caller, a text for the person. */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Length of the well-formed UTF-8 sequence at s (Unicode 15, table 3-7), or 0. */
static size_t utf8_sequence(const unsigned char *s) {
        size_t n;
        unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte; later ones are 80 to bf */

        if (s[0] < 0x80)
                return 1;
        if (s[0] >= 0xc2 && s[0] <= 0xdf)
                n = 2;
        else if (s[0] >= 0xe0 && s[0] <= 0xef)
                n = 3;
        else if (s[0] >= 0xf0 && s[0] <= 0xf4)
                n = 4;
        else
                return 0;

        if (s[0] == 0xe0)
                low = 0xa0; /* overlong */
        else if (s[0] == 0xed)
                high = 0x9f; /* surrogates */
        else if (s[0] == 0xf0)
                low = 0x90; /* overlong */
        else if (s[0] == 0xf4)
                high = 0x8f; /* beyond U+10FFFF */

        for (size_t i = 1; i < n; i++) {
                if (s[i] < low || s[i] > high)
                        return 0; /* the terminating NUL ends here too */
                low = 0x80;
                high = 0xbf;
        }
        return n;
}

/* Error texts end in JSON strings, which must be UTF-8, yet are made of file names and of truncated input. */
static void make_utf8(char *text) {
        for (unsigned char *s = (unsigned char *)text; *s;) {
                size_t n = utf8_sequence(s);

                if (n == 0)
                        *s = '?';
                s += n ? n : 1;
        }
}

static int normalize(int code) {
        if (code == 0)
                return -EIO; /* an error without a code must still read as one */
        return code > 0 ? -code : code;
}

/* Formats aside first, so that arguments may point into error->text. */
static void set_text(struct error *error, const char *suffix, const char *format, va_list ap)
        __attribute__((format(printf, 3, 0)));

static void set_text(struct error *error, const char *suffix, const char *format, va_list ap) {
        char text[sizeof(error->text)];
        int n;

        n = vsnprintf(text, sizeof(text), format, ap);
        if (n < 0)
                text[n = 0] = '\0';
        if (suffix && (size_t)n < sizeof(text))
                snprintf(text + n, sizeof(text) - (size_t)n, ": %s", suffix);
        make_utf8(text);
        memcpy(error->text, text, sizeof(text));
}

int error_set(struct error *error, int code, const char *format, ...) {
        va_list ap;

        code = normalize(code);
        if (!error)
                return code;

        error->code = code;
        va_start(ap, format);
        set_text(error, NULL, format, ap);
        va_end(ap);
        return code;
}

int error_errno(struct error *error, int code, const char *format, ...) {
        va_list ap;

        code = normalize(code);
        if (!error)
                return code;

        error->code = code;
        va_start(ap, format);
        set_text(error, strerror(-code), format, ap);
        va_end(ap);
        return code;
}

int error_prefix(struct error *error, const char *format, ...) {
        char reason[sizeof(error->text)];
        va_list ap;

        if (!error)
                return -EIO;

        error->code = normalize(error->code);
        snprintf(reason, sizeof(reason), "%s", error_text(error, error->code));
        va_start(ap, format);
        set_text(error, reason, format, ap);
        va_end(ap);
        return error->code;
}

const char *error_text(const struct error *error, int code) {
        if (error && error->text[0])
                return error->text;
        return strerror(-normalize(error && error->code ? error->code : code));
}
