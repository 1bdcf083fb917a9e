#include "vmhost/console-log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "vmhost/console.h"

#define TAIL_MAX (32 * 1024) /* bytes of the log that console_tail looks at */

static int open_log(const char *directory, int flags) {
        _cleanup_free_ char *path = text_format("%s/" CONSOLE_LOG, directory);
        int fd = path ? open(path, flags | O_CLOEXEC | O_NOFOLLOW) : -1;

        if (fd < 0)
                return path ? -errno : -ENOMEM;
        return fd;
}

static uint64_t size_of(int fd) {
        struct stat status;

        return fd >= 0 && fstat(fd, &status) == 0 ? (uint64_t)status.st_size : 0;
}

uint64_t console_log_size(const char *directory) {
        _cleanup_fd_ int fd = open_log(directory, O_RDONLY);

        return size_of(fd);
}

/* Copies the bytes up to `end`, or to the end of the file, from where the file descriptors stand. */
static int copy(int from, int to, uint64_t n) {
        while (n > 0) {
                char buffer[65536];
                ssize_t got = read(from, buffer, n < sizeof(buffer) ? (size_t)n : sizeof(buffer));

                if (got < 0)
                        return -errno;
                if (got == 0)
                        return 0;
                ssize_t put = write(to, buffer, (size_t)got);
                if (put != got)
                        return put < 0 ? -errno : -ENOSPC;
                n -= (uint64_t)got;
        }
        return 0;
}

/* QEMU appends: after either of the two its next byte lies behind what is left. */
static int cut(int log, int old, uint64_t size, uint64_t block, uint64_t max) {
        uint64_t whole = (size - 1) / block * block, from = size > max ? size - max : 0;

        if (lseek(log, (off_t)from, SEEK_SET) < 0)
                return -errno;
        int r = copy(log, old, whole > from ? whole - from : 0);
        if (r < 0)
                return r;
        if (whole > 0 && fallocate(log, FALLOC_FL_COLLAPSE_RANGE, 0, (off_t)whole) == 0)
                return 0;
        r = copy(log, old, UINT64_MAX);
        return r == 0 && ftruncate(log, 0) < 0 ? -errno : r;
}

int console_log_rotate(const char *directory, uint64_t max) {
        _cleanup_free_ char *path = text_format("%s/" CONSOLE_LOG_OLD, directory);
        _cleanup_free_ char *temporary = text_format("%s/" CONSOLE_LOG_OLD ".new", directory);
        struct stat status;

        if (!path || !temporary)
                return -ENOMEM;
        _cleanup_fd_ int log = open_log(directory, O_RDWR);
        if (log < 0)
                return log == -ENOENT ? 0 : log;
        if (fstat(log, &status) < 0)
                return -errno;
        if (status.st_size == 0)
                return 0;
        _cleanup_fd_ int old = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (old < 0)
                return -errno;
        int r = cut(log, old, (uint64_t)status.st_size, (uint64_t)status.st_blksize, max);
        if (r == 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0)
                unlink(temporary);
        return r;
}

size_t console_log_end(const char *directory, char *buffer, size_t size) {
        _cleanup_fd_ int fd = open_log(directory, O_RDONLY);
        uint64_t end = size_of(fd);
        ssize_t n = end > 0 ? pread(fd, buffer, size, (off_t)(end > size ? end - size : 0)) : 0;

        return n > 0 ? (size_t)n : 0;
}

int console_begin_run(const char *directory) {
        _cleanup_free_ char *path = text_format("%s/" CONSOLE_LOG, directory);
        _cleanup_free_ char *old = text_format("%s/" CONSOLE_LOG_OLD, directory);

        if (!path || !old)
                return -ENOMEM;
        /* A run that printed nothing does not push out the one before it. */
        if (console_log_size(directory) > 0 && rename(path, old) < 0)
                return -errno;
        _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        return fd < 0 ? -errno : 0;
}

/* ---- The tail ---- */

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

/* A line as a person saw it, of printable ASCII and what is valid UTF-8 besides; a new reference, or NULL. */
static json_t *clean_line(const char *line, size_t size) {
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
        json_t *string = json_stringn(text, n);
        for (size_t i = 0; !string && i < n; i++)
                if ((unsigned char)text[i] >= 0x80)
                        text[i] = '?';
        if (!string)
                string = json_stringn(text, n);
        free(text);
        return string;
}

json_t *console_tail(const char *directory, size_t lines) {
        _cleanup_free_ char *buffer = malloc(TAIL_MAX);
        size_t size = buffer ? console_log_end(directory, buffer, TAIL_MAX) : 0;
        json_t *array = json_array();

        while (array && size > 0 && json_array_size(array) < lines) {
                const char *newline = memrchr(buffer, '\n', size);
                size_t start = newline ? (size_t)(newline - buffer) + 1 : 0;
                json_t *line = clean_line(buffer + start, size - start);

                if (json_string_length(line) > 0)
                        json_array_insert_new(array, 0, line);
                else
                        json_decref(line); /* blank lines say nothing, and would take the place of others */
                size = newline ? start - 1 : 0;
        }
        return array;
}
