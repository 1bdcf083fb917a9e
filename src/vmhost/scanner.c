#include "vmhost/scanner.h"

#include <stdio.h>
#include <string.h>

static bool is_space(unsigned char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_digit(unsigned char c) {
        return c >= '0' && c <= '9';
}

/* The byte as Go quotes a rune of that number: printable ones of Latin-1 as they are, in UTF-8. */
static void quote(unsigned char c, char *buffer, size_t size) {
        static const char named[] = "\aa\bb\ff\nn\rr\tt\vv\\\\''";

        for (const char *pair = named; *pair; pair += 2)
                if ((unsigned char)pair[0] == c) {
                        snprintf(buffer, size, "'\\%c'", pair[1]);
                        return;
                }
        if (c == '"')
                snprintf(buffer, size, "'\"'");
        else if (c < ' ' || c == 0x7f)
                snprintf(buffer, size, "'\\x%02x'", c);
        else if (c < 0x7f)
                snprintf(buffer, size, "'%c'", c);
        else if (c <= 0xa0 || c == 0xad) /* controls, the no-break space, the soft hyphen */
                snprintf(buffer, size, "'\\u%04x'", c);
        else
                snprintf(buffer, size, "'%c%c'", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
}

static enum scanner_result refuse(struct scanner *s, unsigned char c, const char *context) {
        char quoted[16];

        quote(c, quoted, sizeof(quoted));
        snprintf(s->error, sizeof(s->error), "invalid character %s %s", quoted, context);
        return SCANNER_ERROR;
}

static enum scanner_result go(struct scanner *s, enum scanner_state state) {
        s->state = state;
        return SCANNER_MORE;
}

static bool in_object(const struct scanner *s) {
        return s->objects[(s->depth - 1) / 8] >> (s->depth - 1) % 8 & 1;
}

static enum scanner_result push(struct scanner *s, bool object) {
        if (s->depth == SCANNER_DEPTH_MAX) {
                snprintf(s->error, sizeof(s->error), "exceeded max depth");
                return SCANNER_ERROR;
        }
        uint8_t bit = (uint8_t)(1U << s->depth % 8);
        if (object)
                s->objects[s->depth / 8] |= bit;
        else
                s->objects[s->depth / 8] &= (uint8_t)~bit;
        s->depth++;
        return go(s, object ? SCANNER_KEY_OR_END : SCANNER_VALUE_OR_END);
}

/* Where a value stands that ended with the last byte. */
static void after_value(struct scanner *s) {
        if (s->depth == 0)
                s->state = SCANNER_FINISHED;
        else
                s->state = in_object(s) ? SCANNER_AFTER_MEMBER : SCANNER_AFTER_ELEMENT;
}

static enum scanner_result pop(struct scanner *s) {
        s->depth--;
        after_value(s);
        return s->depth == 0 ? SCANNER_END : SCANNER_MORE;
}

static enum scanner_result begin_value(struct scanner *s, unsigned char c) {
        if (is_space(c))
                return SCANNER_MORE;
        s->begun = true;
        switch (c) {
        case '{':
                return push(s, true);
        case '[':
                return push(s, false);
        case '"':
                s->key = false;
                return go(s, SCANNER_STRING);
        case '-':
                return go(s, SCANNER_MINUS);
        case '0':
                return go(s, SCANNER_ZERO);
        case 't':
        case 'f':
        case 'n':
                s->word = c == 't' ? "true" : c == 'f' ? "false" : "null";
                s->rest = s->word + 1;
                return go(s, SCANNER_WORD);
        default:
                if (is_digit(c))
                        return go(s, SCANNER_DIGITS);
                return refuse(s, c, "looking for beginning of value");
        }
}

static enum scanner_result begin_key(struct scanner *s, unsigned char c) {
        if (is_space(c))
                return SCANNER_MORE;
        if (c == '}' && s->state == SCANNER_KEY_OR_END)
                return pop(s);
        if (c != '"')
                return refuse(s, c, "looking for beginning of object key string");
        s->key = true;
        return go(s, SCANNER_STRING);
}

/* Behind a key, a member or an element. */
static enum scanner_result between(struct scanner *s, unsigned char c) {
        if (is_space(c))
                return SCANNER_MORE;
        switch (s->state) {
        case SCANNER_COLON:
                return c == ':' ? go(s, SCANNER_VALUE) : refuse(s, c, "after object key");
        case SCANNER_AFTER_MEMBER:
                if (c == '}')
                        return pop(s);
                return c == ',' ? go(s, SCANNER_KEY) : refuse(s, c, "after object key:value pair");
        default:
                if (c == ']')
                        return pop(s);
                return c == ',' ? go(s, SCANNER_VALUE) : refuse(s, c, "after array element");
        }
}

static enum scanner_result feed_string(struct scanner *s, unsigned char c) {
        switch (s->state) {
        case SCANNER_STRING:
                if (c == '\\')
                        return go(s, SCANNER_ESCAPE);
                if (c < ' ')
                        return refuse(s, c, "in string literal");
                if (c != '"')
                        return SCANNER_MORE;
                if (s->key)
                        return go(s, SCANNER_COLON);
                after_value(s);
                return SCANNER_MORE;
        case SCANNER_ESCAPE:
                if (c == 'u') {
                        s->left = 4;
                        return go(s, SCANNER_HEX);
                }
                if (!c || !strchr("\"\\/bfnrt", c))
                        return refuse(s, c, "in string escape code");
                return go(s, SCANNER_STRING);
        default:
                if (!is_digit(c) && !(c >= 'a' && c <= 'f') && !(c >= 'A' && c <= 'F'))
                        return refuse(s, c, "in \\u hexadecimal character escape");
                return --s->left == 0 ? go(s, SCANNER_STRING) : SCANNER_MORE;
        }
}

static enum scanner_result feed_word(struct scanner *s, unsigned char c) {
        char context[48];

        if ((unsigned char)*s->rest != c) {
                snprintf(context, sizeof(context), "in literal %s (expecting '%c')", s->word, *s->rest);
                return refuse(s, c, context);
        }
        if (*++s->rest == '\0')
                after_value(s);
        return SCANNER_MORE;
}

/* A byte that is no part of a number ends it and is looked at again by what the number stands in. */
static enum scanner_result feed_number(struct scanner *s, unsigned char c) {
        bool digit = is_digit(c);

        switch (s->state) {
        case SCANNER_MINUS:
                if (!digit)
                        return refuse(s, c, "in numeric literal");
                return go(s, c == '0' ? SCANNER_ZERO : SCANNER_DIGITS);
        case SCANNER_POINT:
                return digit ? go(s, SCANNER_FRACTION)
                             : refuse(s, c, "after decimal point in numeric literal");
        case SCANNER_EXPONENT:
                if (c == '+' || c == '-')
                        return go(s, SCANNER_EXPONENT_SIGN);
                __attribute__((fallthrough));
        case SCANNER_EXPONENT_SIGN:
                return digit ? go(s, SCANNER_EXPONENT_DIGITS)
                             : refuse(s, c, "in exponent of numeric literal");
        default:
                break;
        }
        if (digit && s->state != SCANNER_ZERO)
                return SCANNER_MORE;
        if (c == '.' && (s->state == SCANNER_ZERO || s->state == SCANNER_DIGITS))
                return go(s, SCANNER_POINT);
        if ((c == 'e' || c == 'E') && s->state != SCANNER_EXPONENT_DIGITS)
                return go(s, SCANNER_EXPONENT);
        after_value(s);
        return scanner_feed(s, c);
}

enum scanner_result scanner_feed(struct scanner *s, unsigned char c) {
        switch (s->state) {
        case SCANNER_VALUE_OR_END:
                if (c == ']')
                        return pop(s);
                __attribute__((fallthrough));
        case SCANNER_VALUE:
                return begin_value(s, c);
        case SCANNER_KEY:
        case SCANNER_KEY_OR_END:
                return begin_key(s, c);
        case SCANNER_COLON:
        case SCANNER_AFTER_MEMBER:
        case SCANNER_AFTER_ELEMENT:
                return between(s, c);
        case SCANNER_STRING:
        case SCANNER_ESCAPE:
        case SCANNER_HEX:
                return feed_string(s, c);
        case SCANNER_WORD:
                return feed_word(s, c);
        case SCANNER_FINISHED:
                return SCANNER_ENDED;
        default:
                return feed_number(s, c);
        }
}

enum scanner_result scanner_finish(struct scanner *s) {
        /* A blank ends what can end here, and changes nothing elsewhere. */
        if (s->begun && scanner_feed(s, ' ') == SCANNER_ENDED)
                return SCANNER_ENDED;
        snprintf(s->error, sizeof(s->error), s->begun ? "unexpected EOF" : "EOF");
        return SCANNER_ERROR;
}

const char *scanner_error(const struct scanner *s) {
        return s->error;
}
