/* Configuration members: the plain ones of config.json, as one table for reading and for showing. */
#pragma once

#include <stddef.h>

enum member_kind {
        MEMBER_NUMBER, /* unsigned, from min to max */
        MEMBER_PORT, /* uint16_t, from min to max */
        MEMBER_BOOL, /* bool */
        MEMBER_CHOICE, /* an enum, whose values are the indices of `choices` */
        MEMBER_TEXT, /* char *, of min to max bytes */
        MEMBER_PATH, /* char *, absolute once it is read */
};

struct member {
        const char *key;
        enum member_kind kind;
        size_t offset; /* in struct configuration */
        unsigned min, max;
        const char *const *choices; /* ends with NULL */
};

/* Ends with a key that is NULL. */
extern const struct member configuration_members[];

/* The words for enum configuration_share_type, ending with NULL. */
extern const char *const configuration_share_types[];
