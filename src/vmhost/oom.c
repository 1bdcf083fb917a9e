#include "vmhost/oom.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "loop/loop.h"
#include "vmhost/cgroup.h"

/* The number behind a word at the beginning of a line; `missing` where there is none. */
static uint64_t read_count(const char *path, const char *word, uint64_t missing) {
        _cleanup_free_ char *text = NULL;
        size_t size, length = strlen(word);
        char *save = NULL;
        uint64_t value = missing;

        if (!path[0] || file_read(path, 64 * 1024, &text, &size, NULL) < 0)
                return missing;
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
                if (strncmp(line, word, length) == 0 && line[length] == ' ')
                        text_parse_u64(line + length + 1, UINT64_MAX, &value);
        return value;
}

static uint64_t machine_kills(uint64_t missing) {
        return read_count("/proc/vmstat", "oom_kill", missing);
}

/* The count is in memory.events of version 2, and in memory.oom_control of version 1. */
static void find_cgroup(struct oom *oom) {
        char directory[sizeof(oom->cgroup) - sizeof("/memory.oom_control")];

        if (cgroup_find(oom->pid, "memory", directory, sizeof(directory)) < 0)
                return;
        snprintf(oom->cgroup, sizeof(oom->cgroup), "%s/memory.events", directory);
        if (access(oom->cgroup, R_OK) < 0)
                snprintf(oom->cgroup, sizeof(oom->cgroup), "%s/memory.oom_control", directory);
}

void oom_begin(struct oom *oom, pid_t pid) {
        *oom = (struct oom){ .pid = pid };
        find_cgroup(oom);
        oom_look(oom);
}

void oom_look(struct oom *oom) {
        oom->cgroup_kills = read_count(oom->cgroup, "oom_kill", UINT64_MAX);
        oom->machine_kills = machine_kills(UINT64_MAX);
        oom->looked = loop_now();
}

/* One record per read, in the order of the log (Documentation/ABI/testing/dev-kmsg). */
static bool log_names(pid_t pid) {
        char record[2048], needle[48];
        bool found = false;
        _cleanup_fd_ int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

        if (fd < 0)
                return false;
        snprintf(needle, sizeof(needle), "Killed process %d (", (int)pid);
        for (;;) {
                ssize_t n = read(fd, record, sizeof(record) - 1);
                if (n < 0 && (errno == EPIPE || errno == EINTR)) /* records were overwritten meanwhile */
                        continue;
                if (n <= 0)
                        return found;
                record[n] = '\0';
                found = found || strstr(record, needle);
        }
}

bool oom_was_killed(const struct oom *oom) {
        /* Where a count could not be read it is as high as can be, and nothing is above it. */
        return log_names(oom->pid) || read_count(oom->cgroup, "oom_kill", 0) > oom->cgroup_kills ||
               (loop_now() - oom->looked < OOM_FRESH && machine_kills(0) > oom->machine_kills);
}
