/* Errors: a negative errno for the caller, a text for the person. */
#pragma once

#include <stdarg.h>

/*
 * An error is a negative errno that goes up the stack; its text is made where the reason is known.
 * Functions that can explain themselves take a `struct error *` (NULL is fine) as their last
 * parameter. They return; they do not log. Whoever ends the journey of an error logs its text, once.
 */
struct error {
        int code; /* negative errno, 0 when unset */
        char text[480];
};

#define ERROR_INIT ((struct error){ .code = 0 })

/* Sets code and text; returns code (negative), so that `return error_set(...)` reads well. */
int error_set(struct error *error, int code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* As error_set, and appends ": " and the system's text for the code. */
int error_errno(struct error *error, int code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Puts "WHAT: " before the text that is there already (or the code's text); returns error's code (-EIO
 * where error is NULL). */
int error_prefix(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The text, or the system's text for `code` when none was set. Never NULL; valid as long as error. */
const char *error_text(const struct error *error, int code);
