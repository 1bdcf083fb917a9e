/* Scanner: where a JSON value ends, found byte by byte as it arrives. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The control protocol has no framing: a request is the first JSON value of the stream, and a client need not
 * end it with a newline or by closing. The reference reads it with Go's encoding/json, whose rules are kept
 * here, with its texts: an object or an array ends with its bracket, a string, number or word only with the
 * byte behind it (or the end of the stream); and it is a syntax error the moment a byte cannot go on the
 * value.
 */
#define SCANNER_DEPTH_MAX 10000 /* brackets within each other, as in Go */

enum scanner_result {
        SCANNER_MORE, /* the byte belongs to the value, or is white space before it */
        SCANNER_END, /* the value ends with this byte */
        SCANNER_ENDED, /* the value ended before this byte */
        SCANNER_ERROR, /* scanner_error has the text */
};

enum scanner_state {
        SCANNER_VALUE,
        SCANNER_VALUE_OR_END, /* behind '[' */
        SCANNER_KEY, /* behind ',' in an object */
        SCANNER_KEY_OR_END, /* behind '{' */
        SCANNER_COLON,
        SCANNER_AFTER_MEMBER,
        SCANNER_AFTER_ELEMENT,
        SCANNER_STRING,
        SCANNER_ESCAPE,
        SCANNER_HEX, /* `left` digits of \uXXXX */
        SCANNER_WORD, /* the rest of true, false or null */
        SCANNER_MINUS,
        SCANNER_ZERO, /* a leading 0, behind which no digit may stand */
        SCANNER_DIGITS,
        SCANNER_POINT,
        SCANNER_FRACTION,
        SCANNER_EXPONENT, /* behind 'e' */
        SCANNER_EXPONENT_SIGN,
        SCANNER_EXPONENT_DIGITS,
        SCANNER_FINISHED, /* a string, number or word that is the whole value: the next byte ends it */
};

struct scanner {
        enum scanner_state state;
        bool begun; /* something other than white space came */
        bool key; /* the string that is read is a key */
        unsigned left;
        const char *word, *rest; /* of SCANNER_WORD: all of it, and what is still to come */
        size_t depth;
        uint8_t objects[SCANNER_DEPTH_MAX / 8 + 1]; /* a bit for each level: an object, or an array */
        char error[96];
};

#define SCANNER_INIT ((struct scanner){ .state = SCANNER_VALUE })

enum scanner_result scanner_feed(struct scanner *scanner, unsigned char c);
/* What the end of the stream means here: SCANNER_ENDED where a value is complete, else SCANNER_ERROR with the
 * text "EOF" (nothing came) or "unexpected EOF". */
enum scanner_result scanner_finish(struct scanner *scanner);
/* Valid as long as the scanner. */
const char *scanner_error(const struct scanner *scanner);
