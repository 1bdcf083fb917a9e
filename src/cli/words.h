/* Words: a command line that grows. */
#pragma once

#include <stddef.h>
#include <stdio.h>

struct words {
        char **words; /* owned strings, NULL at the end; NULL while empty */
        size_t n_words;
};

void words_deinit(struct words *words);
/* Copies count words to place `at`, 0 to n_words. 0 or -ENOMEM. */
int words_insert(struct words *words, size_t at, const char *const *inserted, size_t count);
/* Puts a formatted word at the end. 0 or -ENOMEM. */
int words_append(struct words *words, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes a line that a shell reads back as the same words. */
void words_print(const struct words *words, FILE *out);
