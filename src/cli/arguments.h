/* Arguments: a command's options and operands, taken apart by a table. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Rows of a table; `value` is what the option's value is called in the help, or NULL for one without. */
struct option_spec {
        const char *name; /* without the dashes: two, or one where it is a single letter */
        const char *value;
        const char *help; /* lines separated by '\n' */
};

struct parsed_option {
        const struct option_spec *spec;
        const char *value; /* NULL for one without */
};

/* What follows the operands: a command line of another program, which may have to be there. */
enum trailing { TRAILING_NONE, TRAILING_COMMAND, TRAILING_OPTIONAL };

struct arguments {
        struct parsed_option *options; /* in the order given */
        size_t n_options;
        char **operands; /* borrowed strings, NULL at the end */
        size_t n_operands;
        char **command; /* the trailing command, NULL at its end; into the caller's argv */
        size_t n_command;
};

/*
 * argv is without the program and the command's own name. Options end at "--", and where a command may
 * follow, also at the first word behind n_operands operands, so that `berth run ls -l` leaves -l to ls. 0 or
 * -EINVAL, with a text.
 */
int arguments_parse(struct arguments *ret, const struct option_spec *specs, size_t n_specs,
                    enum trailing trailing, size_t n_operands, char **argv, struct error *error);
void arguments_deinit(struct arguments *arguments);

/* Whether an option was given. */
bool arguments_has(const struct arguments *arguments, const char *name);
/* The value of an option, where it was given more than once the last; NULL where it was not. */
const char *arguments_value(const struct arguments *arguments, const char *name);

/* Of `words`, the one that a mistyped word most likely meant, or NULL. */
const char *arguments_nearest(const char *word, const char *const *words, size_t n_words);
