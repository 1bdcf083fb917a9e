/* Tail: the last lines of what was printed to a terminal, as a person saw them. */
#include "base/tail.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"

/* The length of an escape sequence at p (ECMA-48: ESC [ parameters final; ESC ] text BEL; ESC and one). */
static size_t escape_length(const char *p, const char *end) {
        const char *q = p + 1;

        if (q < end && *q == '[') {
                for (q++; q < end && (unsigned char)*q < 0x40; q++)
                        ;
        } else if (q < end && *q == ']') {
                while (q < end && *q != '\a' && *q != '\n')
                        q++;
        }
        return (size_t)((q < end ? q + 1 : end) - p);
}

/* Appends a byte, but for the controls U+0080 to U+009F, which are \xc2 and one more and drive terminals as
 * well. In what was kept so far the \xc2 is looked for, so none is left by what is dropped in between. */
static size_t append(char *text, size_t n, char byte) {
        unsigned char c = (unsigned char)byte;

        if (c >= 0x80 && c <= 0x9f && n > 0 && (unsigned char)text[n - 1] == 0xc2)
                return n - 1;
        text[n] = byte;
        return n + 1;
}

/* A line as a person saw it: a new string, or NULL. */
static char *clean_line(const char *line, size_t size) {
        char *text = malloc(size + 1);
        size_t n = 0;

        for (const char *p = line, *end = line + size; text && p < end;) {
                if (*p == 0x1b) {
                        p += escape_length(p, end);
                        continue;
                }
                if ((unsigned char)*p >= ' ' && *p != 0x7f)
                        n = append(text, n, *p);
                else if (*p == '\t')
                        n = append(text, n, ' ');
                p++;
        }
        if (!text)
                return NULL;
        text[n] = '\0';
        text_make_utf8(text);
        return text;
}

static size_t read_end(int fd, char *buffer, size_t size) {
        struct stat status;

        if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
                return 0;
        off_t from = status.st_size > (off_t)size ? status.st_size - (off_t)size : 0;
        ssize_t n = pread(fd, buffer, size, from);
        return n > 0 ? (size_t)n : 0;
}

char **tail_read(int fd, size_t max) {
        _cleanup_(tail_freep) char **lines = calloc(max + 1, sizeof(*lines));
        _cleanup_free_ char *buffer = malloc(TAIL_MAX);
        size_t n = 0;

        if (!lines || !buffer)
                return NULL;
        for (size_t size = read_end(fd, buffer, TAIL_MAX); size > 0 && n < max;) {
                const char *newline = memrchr(buffer, '\n', size);
                size_t start = newline ? (size_t)(newline - buffer) + 1 : 0;
                char *line = clean_line(buffer + start, size - start);

                if (!line)
                        return NULL;
                if (line[0]) {
                        memmove(lines + 1, lines, n * sizeof(*lines));
                        lines[0] = line;
                        n++;
                } else {
                        free(line); /* blank lines say nothing, and would take the place of others */
                }
                size = newline ? start - 1 : 0;
        }
        return steal_ptr(lines);
}

void tail_free(char **lines) {
        for (char **line = lines; line && *line; line++)
                free(*line);
        free(lines);
}

void tail_freep(char ***lines) {
        tail_free(*lines);
}
