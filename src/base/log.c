/* Logging to standard error, with priorities that the journal understands. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

/* What a process says of itself is the process's own: the one state kept outside an object. Both are set at
 * the start of main and only read from then on. */
static char log_name[64];
static enum log_level log_level = LOG_LEVEL_INFO;

void log_set_name(const char *name) {
        snprintf(log_name, sizeof(log_name), "%s", name);
}

void log_set_level(enum log_level level) {
        log_level = level;
}

/* JOURNAL_STREAM is DEVICE:INODE and is inherited by every descendant of a service, terminals too: it counts
 * only when it names our own standard error (systemd.exec(5)). */
static bool stderr_is_journal(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat st;

        return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
               fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

static size_t format_start(char *line, size_t size, enum log_level level) {
        struct timespec now;
        struct tm tm;
        size_t n;

        /* The journal knows the time and the program. */
        if (stderr_is_journal())
                return (size_t)snprintf(line, size, "<%d>", (int)level);

        clock_gettime(CLOCK_REALTIME, &now);
        localtime_r(&now.tv_sec, &tm);
        n = strftime(line, size, "%H:%M:%S", &tm);
        return n + (size_t)snprintf(line + n, size - n, ".%03ld %s%s%s", now.tv_nsec / 1000000, log_name,
                                    log_name[0] ? ": " : "",
                                    level == LOG_LEVEL_ERROR     ? "error: "
                                    : level == LOG_LEVEL_WARNING ? "warning: "
                                                                 : "");
}

void log_line(enum log_level level, const char *format, ...) {
        char line[2048];
        int saved = errno;
        size_t start, end;
        ssize_t written;
        va_list ap;
        int n;

        if (level > log_level)
                return;

        start = format_start(line, sizeof(line), level);
        va_start(ap, format);
        n = vsnprintf(line + start, sizeof(line) - start, format, ap);
        va_end(ap);
        end = start + (n < 0 ? 0 : (size_t)n);
        if (end > sizeof(line) - 1)
                end = sizeof(line) - 1;

        /* Texts of peers end up here: none may begin a line of its own or steer a terminal. */
        line[end] = '\0';
        text_make_printable(line + start);
        line[end++] = '\n'; /* over the NUL */

        /* One write per line, so that lines of several processes do not mix; where it fails there is nobody
         * to tell. */
        written = write(STDERR_FILENO, line, end);
        (void)written;
        errno = saved;
}
