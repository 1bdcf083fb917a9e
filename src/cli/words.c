/* Words: a command line that grows. */
#include "cli/words.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/memory.h"

void words_deinit(struct words *words) {
        for (size_t i = 0; i < words->n_words; i++)
                free(words->words[i]);
        free(words->words);
        *words = (struct words){ 0 };
}

/* Takes the word, also when it fails; NULL stands for a failed allocation. */
static int insert_one(struct words *words, size_t at, char *consume_word) {
        char **grown = consume_word ? realloc(words->words, (words->n_words + 2) * sizeof(*grown)) : NULL;

        if (!grown) {
                free(consume_word);
                return -ENOMEM;
        }
        words->words = grown;
        memmove(grown + at + 1, grown + at, (words->n_words - at) * sizeof(*grown));
        grown[at] = consume_word;
        grown[++words->n_words] = NULL;
        return 0;
}

int words_insert(struct words *words, size_t at, const char *const *inserted, size_t count) {
        for (size_t i = 0; i < count; i++) {
                int r = insert_one(words, at + i, strdup(inserted[i]));

                if (r < 0)
                        return r;
        }
        return 0;
}

int words_append(struct words *words, const char *format, ...) {
        va_list arguments;
        char *word = NULL;
        int n;

        va_start(arguments, format);
        n = vasprintf(&word, format, arguments);
        va_end(arguments);
        return insert_one(words, words->n_words, n < 0 ? NULL : word);
}

/* Characters that no shell takes for anything else. */
static int is_plain(char c) {
        return isalnum((unsigned char)c) || strchr("%+,-./:=@_", c);
}

static void print_word(const char *word, FILE *out) {
        const char *c = word;

        while (*c && is_plain(*c))
                c++;
        if (word[0] && !*c) {
                fputs(word, out);
                return;
        }
        fputc('\'', out);
        for (c = word; *c; c++)
                if (*c == '\'')
                        fputs("'\\''", out);
                else
                        fputc(*c, out);
        fputc('\'', out);
}

void words_print(const struct words *words, FILE *out) {
        for (size_t i = 0; i < words->n_words; i++) {
                if (i > 0)
                        fputc(' ', out);
                print_word(words->words[i], out);
        }
        fputc('\n', out);
}
