#include "network/leftover.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"

#define NOTE_MAX 64 /* bytes: two numbers */
#define END_PATIENCE 2000 /* milliseconds; a killed process needs a few */

void leftover_note(const char *path, pid_t pid) {
        struct error error = ERROR_INIT;
        char note[NOTE_MAX];
        uint64_t start;

        int r = process_start_time(pid, &start);
        if (r == 0) {
                int n = snprintf(note, sizeof(note), "%d %" PRIu64 "\n", pid, start);
                r = file_write(path, note, (size_t)n, 0644, false, &error);
        }
        if (r < 0)
                log_warning("cannot write down pid %d: %s", pid, error_text(&error, r));
}

void leftover_end(const char *path, const char *program) {
        _cleanup_free_ char *note = NULL;
        char running[64];
        uint64_t start, start_now;
        size_t size;
        int pid;

        if (file_read(path, NOTE_MAX, &note, &size, NULL) < 0)
                return;
        unlink(path);
        if (sscanf(note, "%d %" SCNu64, &pid, &start) != 2 || pid <= 1)
                return;

        /* The pidfd first: what is then found out about the pid holds for the process that it names. */
        _cleanup_fd_ int pidfd = process_open(pid);
        if (pidfd < 0 || process_start_time(pid, &start_now) < 0 || start_now != start)
                return;
        process_program(pid, running, sizeof(running));
        if (!text_starts_with(running, program))
                return;

        struct pollfd gone = { .fd = pidfd, .events = POLLIN };
        log_info("ending %s (pid %d), which a process before this one left", running, pid);
        process_signal(pidfd, SIGKILL);
        while (poll(&gone, 1, END_PATIENCE) < 0 && errno == EINTR)
                ;
}
