/* probe: dispatch to the subcommands, and what they share. */
#include "probe.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct {
        const char *name, *arguments;
        int (*main)(int argc, char **argv);
} commands[] = {
        { "frame-send", "DEV HEX [COUNT]", frame_send_main },
        { "frame-listen", "DEV HEX SECONDS [COUNT]", frame_listen_main },
        { "serve", "PORT TEXT", serve_main },
        { "answer", "PORT TEXT", answer_main },
        { "fetch", "HOST PORT [SECONDS]", fetch_main },
        { "stream-serve", "PORT", stream_serve_main },
        { "stream", "HOST PORT SECONDS [KIB_PER_SECOND]", stream_main },
        { "resolve", "[-4|-6] NAME", resolve_main },
};

void die(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fputc('\n', stderr);
        exit(1);
}

void die_errno(const char *format, ...) {
        int saved = errno;
        va_list ap;

        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fprintf(stderr, ": %s\n", strerror(saved));
        exit(1);
}

uint64_t parse_number(const char *s, uint64_t max) {
        char *end;

        errno = 0;
        unsigned long long value = strtoull(s, &end, 10);
        if (errno != 0 || end == s || *end != '\0' || *s == '-' || value > max)
                die("not a number up to %llu: %s", (unsigned long long)max, s);
        return value;
}

uint64_t now_ms(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void write_whole(int fd, const void *data, size_t size) {
        const char *p = data;

        while (size > 0) {
                ssize_t n = write(fd, p, size);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        die_errno("write");
                p += n;
                size -= (size_t)n;
        }
}

int main(int argc, char **argv) {
        setvbuf(stdout, NULL, _IOLBF, 0);
        signal(SIGPIPE, SIG_IGN);

        for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
                if (strcmp(argv[1], commands[i].name) == 0)
                        return commands[i].main(argc - 1, argv + 1);

        for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
                fprintf(stderr, "probe %s %s\n", commands[i].name, commands[i].arguments);
        return 2;
}
