/*
 * until LOG TEXT SECONDS COMMAND [ARGUMENT...]: starts a command and prints how long it took until the file LOG, which
 * is removed before, had TEXT in it: milliseconds. The command, if it has not ended by itself, is left running, and is
 * somebody else's to end. Fails when the text does not come in time.
 */
#include <err.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "arguments.h"

#define SECONDS_MAX 600
#define LOG_MAX (1 << 20) /* bytes of the log that are looked at */

static double now_ms(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static bool has_text(const char *path, const char *text) {
        static char log[LOG_MAX];
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, log, sizeof(log));

        if (fd >= 0)
                close(fd);
        return n > 0 && memmem(log, (size_t)n, text, strlen(text));
}

static void start(char **command) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        pid_t pid = fork();

        if (null < 0 || pid < 0)
                err(EXIT_FAILURE, "%s", command[0]);
        if (pid > 0)
                return;
        /* Standard output is the figure's. */
        if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
                _exit(127);
        execvp(command[0], command);
        warn("%s", command[0]);
        _exit(127);
}

int main(int argc, char **argv) {
        char events[4096], *directory;
        int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

        if (argc < 5)
                errx(EXIT_FAILURE, "usage: until LOG TEXT SECONDS COMMAND [ARGUMENT...]");
        unsigned seconds = argument_number("SECONDS", argv[3], SECONDS_MAX);
        directory = strdup(argv[1]);
        unlink(argv[1]);
        if (watch < 0 || !directory ||
            inotify_add_watch(watch, dirname(directory), IN_CREATE | IN_MODIFY | IN_MOVED_TO) < 0)
                err(EXIT_FAILURE, "cannot watch %s", argv[1]);

        double begin = now_ms();
        start(argv + 4);
        while (!has_text(argv[1], argv[2])) {
                struct pollfd pollfd = { .fd = watch, .events = POLLIN };
                int left = (int)(begin + seconds * 1e3 - now_ms());

                if (left <= 0)
                        errx(EXIT_FAILURE, "%s has no \"%s\" after %u s", argv[1], argv[2], seconds);
                if (poll(&pollfd, 1, left) > 0)
                        while (read(watch, events, sizeof(events)) > 0)
                                ;
        }
        printf("%.2f\n", now_ms() - begin);
        free(directory);
        return EXIT_SUCCESS;
}
