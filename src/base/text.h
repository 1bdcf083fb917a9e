/* Strings: formatting, parsing, names. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A new string, to be freed; NULL when memory is short. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Equal; two NULLs are equal. */
bool text_equal(const char *a, const char *b);
bool text_starts_with(const char *s, const char *prefix);

/* A decimal number with nothing around it, at most max: 0, -EINVAL or -ERANGE; *ret untouched on failure. */
int text_parse_u64(const char *s, uint64_t max, uint64_t *ret);

/* A DNS label: 1 to 63 of a-z, A-Z, 0-9 and '-', not at either end (RFC 1123, section 2.1). */
bool text_is_label(const char *s);
/* A label that no VM may have: on networks it is the host's own (host, gateway), or one that programs ask for of
 * themselves (localhost; wpad, for a proxy to put all their traffic through). */
bool text_is_reserved_label(const char *s);
/* A network's or VM's name: 1 to 63 of a-z, A-Z, 0-9, '-', '_' and '.', beginning with a letter or digit. It is
 * used as a file name, so no '/' and no leading '.'. */
bool text_is_name(const char *s);
/* A UUID in its canonical form, lower case (RFC 4122, section 3). */
bool text_is_uuid(const char *s);

/* Makes each byte a '?' that belongs to no well-formed UTF-8: of anybody's bytes, or a character cut in two. */
void text_make_utf8(char *text);
/* The same, and makes control characters blanks, those of ECMA-48 beyond ASCII (U+0080 to U+009F) too: what
 * is left neither begins a line nor steers a terminal. */
void text_make_printable(char *text);
