/* Arguments: a command's options and operands, taken apart by a table. */
#include "cli/arguments.h"

#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

#define NEAREST_DISTANCE 2 /* letters that may differ between what was typed and what is suggested */
#define NEAREST_LENGTH 32 /* of words that are compared at all */

static size_t min(size_t a, size_t b) {
        return a < b ? a : b;
}

/* Letters to insert, remove, replace or swap with their neighbour to make one word of the other. Words are no
 * longer than NEAREST_LENGTH. */
static size_t distance(const char *a, const char *b) {
        size_t d[NEAREST_LENGTH + 1][NEAREST_LENGTH + 1]; /* of the first i letters of a, the first j of b */
        size_t n = strlen(a), m = strlen(b);

        for (size_t i = 0; i <= n; i++) {
                for (size_t j = 0; j <= m; j++) {
                        if (i == 0 || j == 0) {
                                d[i][j] = i + j;
                                continue;
                        }
                        d[i][j] = min(min(d[i - 1][j], d[i][j - 1]) + 1,
                                      d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                d[i][j] = min(d[i][j], d[i - 2][j - 2] + 1);
                }
        }
        return d[n][m];
}

const char *arguments_nearest(const char *word, const char *const *words, size_t n_words) {
        size_t best = NEAREST_DISTANCE + 1;
        const char *nearest = NULL;

        if (strlen(word) > NEAREST_LENGTH)
                return NULL;
        for (size_t i = 0; i < n_words; i++) {
                size_t d;

                if (strlen(words[i]) > NEAREST_LENGTH)
                        continue;
                d = distance(word, words[i]);
                /* A word of which nothing is left is no likely meaning. */
                if (d < best && d < strlen(words[i])) {
                        best = d;
                        nearest = words[i];
                }
        }
        return nearest;
}

static int unknown_option(const char *word, size_t length, const struct option_spec *specs, size_t n_specs,
                          struct error *error) {
        _cleanup_free_ const char **names = calloc(n_specs + 1, sizeof(*names));
        _cleanup_free_ char *name = strndup(word, length);
        const char *nearest = NULL;

        if (names && name) {
                for (size_t i = 0; i < n_specs; i++)
                        names[i] = specs[i].name;
                nearest = arguments_nearest(name, names, n_specs);
        }
        if (nearest)
                return error_set(error, -EINVAL, "unknown option --%.*s; did you mean --%s?", (int)length,
                                 word, nearest);
        return error_set(error, -EINVAL, "unknown option --%.*s", (int)length, word);
}

/* Takes a word that begins with "--", and the next one where that is its value; moves *argv behind what it
 * took. */
static int parse_option(struct arguments *arguments, const struct option_spec *specs, size_t n_specs,
                        char ***argv, struct error *error) {
        const char *word = **argv + 2;
        size_t length = strcspn(word, "=");
        const char *value = word[length] == '=' ? word + length + 1 : NULL;
        const struct option_spec *spec = NULL;

        for (size_t i = 0; i < n_specs && !spec; i++)
                if (length > 1 && strlen(specs[i].name) == length &&
                    strncmp(specs[i].name, word, length) == 0)
                        spec = &specs[i];
        if (!spec)
                return unknown_option(word, length, specs, n_specs, error);
        if (value && !spec->value)
                return error_set(error, -EINVAL, "option --%s takes no value", spec->name);
        (*argv)++;
        if (spec->value && !value) {
                value = **argv;
                if (!value)
                        return error_set(error, -EINVAL, "option --%s needs a value: --%s %s", spec->name,
                                         spec->name, spec->value);
                (*argv)++;
        }
        arguments->options[arguments->n_options++] = (struct parsed_option){ spec, value };
        return 0;
}

/* The same for a word that begins with a single '-': one letter, and its value behind it or as the next word.
 */
static int parse_letter(struct arguments *arguments, const struct option_spec *specs, size_t n_specs,
                        char ***argv, struct error *error) {
        const char *word = **argv, *value = word[2] ? word + 2 : NULL;
        const struct option_spec *spec = NULL;

        for (size_t i = 0; i < n_specs && !spec; i++)
                if (specs[i].name[0] == word[1] && !specs[i].name[1])
                        spec = &specs[i];
        if (!spec || (value && !spec->value))
                return error_set(error, -EINVAL, "unknown option %s", word);
        (*argv)++;
        if (spec->value && !value) {
                value = **argv;
                if (!value)
                        return error_set(error, -EINVAL, "option -%s needs a value: -%s %s", spec->name,
                                         spec->name, spec->value);
                (*argv)++;
        }
        arguments->options[arguments->n_options++] = (struct parsed_option){ spec, value };
        return 0;
}

int arguments_parse(struct arguments *ret, const struct option_spec *specs, size_t n_specs,
                    enum trailing trailing, size_t n_operands, char **argv, struct error *error) {
        _cleanup_(arguments_deinit) struct arguments arguments = { 0 };
        size_t n = 0;
        int r;

        while (argv[n])
                n++;
        arguments.options = calloc(n + 1, sizeof(*arguments.options));
        arguments.operands = calloc(n + 1, sizeof(*arguments.operands));
        if (!arguments.options || !arguments.operands)
                return error_set(error, -ENOMEM, "out of memory");

        while (*argv) {
                if (text_equal(*argv, "--")) {
                        argv++;
                        if (trailing != TRAILING_NONE)
                                break;
                        while (*argv)
                                arguments.operands[arguments.n_operands++] = *argv++;
                } else if (text_starts_with(*argv, "--")) {
                        r = parse_option(&arguments, specs, n_specs, &argv, error);
                        if (r < 0)
                                return r;
                } else if (text_equal(*argv, "-h")) {
                        static const struct option_spec help = { .name = "help" };

                        arguments.options[arguments.n_options++] = (struct parsed_option){ &help, NULL };
                        argv++;
                } else if ((*argv)[0] == '-' && (*argv)[1]) {
                        r = parse_letter(&arguments, specs, n_specs, &argv, error);
                        if (r < 0)
                                return r;
                } else if (trailing != TRAILING_NONE && arguments.n_operands == n_operands) {
                        break;
                } else {
                        arguments.operands[arguments.n_operands++] = *argv++;
                }
        }
        arguments.command = argv;
        while (argv[arguments.n_command])
                arguments.n_command++;

        *ret = arguments;
        arguments = (struct arguments){ 0 };
        return 0;
}

void arguments_deinit(struct arguments *arguments) {
        free(arguments->options);
        free(arguments->operands);
        *arguments = (struct arguments){ 0 };
}

bool arguments_has(const struct arguments *arguments, const char *name) {
        for (size_t i = 0; i < arguments->n_options; i++)
                if (text_equal(arguments->options[i].spec->name, name))
                        return true;
        return false;
}

const char *arguments_value(const struct arguments *arguments, const char *name) {
        for (size_t i = arguments->n_options; i > 0; i--)
                if (text_equal(arguments->options[i - 1].spec->name, name))
                        return arguments->options[i - 1].value;
        return NULL;
}
