/* Errors: a negative errno for the caller, a text for the person. */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

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
        /* They end in JSON strings, and are made of file names and of truncated input. */
        text_make_utf8(text);
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
