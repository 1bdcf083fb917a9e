#include "vmhost/scope.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "vmhost/cgroup.h"
#include "vmhost/spawn.h"

#define PREFIX "berth-vm-"
#define TOOL "busctl"
#define PATIENCE_MS 10000 /* for systemd's answer, and again for what it then does */
#define LOOK_MS 2
#define PERCENT_US 10000 /* of processor time a second */
#define WORDS_MAX 40

bool scope_is_wanted(const struct configuration *configuration) {
        return configuration->memory_limit_mib > 0 || configuration->cpu_limit_percent > 0;
}

/* The name of the cgroup that a controller holds a process in, as cgroup_find. "" where there is none. */
static void read_unit(pid_t pid, const char *controller, char *ret, size_t size) {
        char directory[512];
        const char *last = cgroup_find(pid, controller, directory, sizeof(directory)) == 0
                                   ? strrchr(directory, '/')
                                   : NULL;

        snprintf(ret, size, "%s", last ? last + 1 : "");
}

int scope_find(pid_t pid, char ret[static SCOPE_NAME_SIZE]) {
        read_unit(pid, NULL, ret, SCOPE_NAME_SIZE);
        return text_starts_with(ret, PREFIX) ? 0 : -ENOENT;
}

static uint64_t memory_limit(const struct configuration *c) {
        return (uint64_t)c->memory_limit_mib << 20;
}

/* ---- Asking systemd ---- */

/* Waits for the end of a child of ours, and kills it when that takes too long: its exit status, or -errno. */
static int await_tool(pid_t pid) {
        _cleanup_fd_ int pidfd = process_open(pid);
        struct pollfd end = { .fd = pidfd, .events = POLLIN };
        bool late = pidfd < 0;
        int status;

        while (!late) {
                int n = poll(&end, 1, PATIENCE_MS);

                if (n >= 0 || errno != EINTR) {
                        late = n <= 0;
                        break;
                }
        }
        if (late)
                kill(pid, SIGKILL); /* a child not yet waited for: the pid is still its own */
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        if (late)
                return -ETIMEDOUT;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

static int run_tool(char *const *words, struct error *error) {
        char said[256];
        pid_t pid;
        _cleanup_fd_ int output = memfd_create("berth-scope", MFD_CLOEXEC);
        if (output < 0)
                return error_errno(error, -errno, "cannot ask systemd");
        const struct spawn spawn = { .arguments = words, .log = output, .ruleset = -1 };

        int r = spawn_run(&spawn, &pid, error);
        if (r < 0)
                return r;
        r = await_tool(pid);
        if (r == 0)
                return 0;
        file_last_line(output, said, sizeof(said));
        if (r == -ETIMEDOUT)
                return error_set(error, r, "systemd does not answer");
        return error_set(error, -ENOENT, "systemd cannot be asked: %s", said[0] ? said : TOOL " failed");
}

/* StartTransientUnit(name, mode, properties, auxiliary units), as busctl(1) writes its types. */
static int ask_systemd(const char *unit, pid_t pid, const struct configuration *c, struct error *error) {
        _cleanup_free_ char *tool = process_find_program(TOOL, NULL);
        _cleanup_free_ char *process = text_format("%d", (int)pid);
        _cleanup_free_ char *memory = text_format("%" PRIu64, memory_limit(c));
        _cleanup_free_ char *time = text_format("%u", c->cpu_limit_percent * PERCENT_US);
        _cleanup_free_ char *description = text_format("A virtual machine of Berth, %s", unit);
        unsigned n_properties = 3U + (c->memory_limit_mib > 0) + (c->cpu_limit_percent > 0);
        _cleanup_free_ char *count = text_format("%u", n_properties);
        const char *words[WORDS_MAX];
        size_t n = 0;

        if (!tool)
                return error_set(error, -ENOENT, TOOL ", which asks systemd, is not installed");
        if (!process || !memory || !time || !description || !count)
                return error_set(error, -ENOMEM, "out of memory");

        const char *const begin[] = { tool,
                                      geteuid() == 0 ? "--system" : "--user",
                                      "--quiet",
                                      "call",
                                      "org.freedesktop.systemd1",
                                      "/org/freedesktop/systemd1",
                                      "org.freedesktop.systemd1.Manager",
                                      "StartTransientUnit",
                                      "ssa(sv)a(sa(sv))",
                                      unit,
                                      "fail",
                                      count,
                                      "PIDs",
                                      "au",
                                      "1",
                                      process,
                                      "Description",
                                      "s",
                                      description,
                                      "CollectMode",
                                      "s",
                                      "inactive-or-failed" };
        memcpy(words, begin, sizeof(begin));
        n = ARRAY_SIZE(begin);
        if (c->memory_limit_mib > 0) {
                words[n++] = "MemoryMax";
                words[n++] = "t";
                words[n++] = memory;
        }
        if (c->cpu_limit_percent > 0) {
                words[n++] = "CPUQuotaPerSecUSec";
                words[n++] = "t";
                words[n++] = time;
        }
        words[n++] = "0";
        words[n] = NULL;
        return run_tool((char *const *)words, error);
}

/* ---- What became of it ---- */

static bool is_inside(pid_t pid, const char *controller, const char *unit) {
        char name[SCOPE_NAME_SIZE];

        read_unit(pid, controller, name, sizeof(name));
        return text_equal(name, unit);
}

/* The file of version 2 or, where that is missing, of version 1. */
static bool is_limited(pid_t pid, const char *controller, const char *file2, const char *file1,
                       uint64_t max) {
        char directory[512];
        uint64_t value;

        if (cgroup_find(pid, controller, directory, sizeof(directory)) < 0)
                return false;
        if (cgroup_read_number(directory, file2, &value) < 0 &&
            cgroup_read_number(directory, file1, &value) < 0)
                return false;
        return value <= max;
}

static const char *find_missing(pid_t pid, const char *unit, const struct configuration *c) {
        uint64_t bytes = memory_limit(c);

        if (bytes > 0 && !(is_inside(pid, "memory", unit) &&
                           is_limited(pid, "memory", "memory.max", "memory.limit_in_bytes", bytes)))
                return "memory";
        /* How long the period is that the quota is of, systemd chooses: there only has to be one. */
        if (c->cpu_limit_percent > 0 &&
            !(is_inside(pid, "cpu", unit) &&
              is_limited(pid, "cpu", "cpu.max", "cpu.cfs_quota_us", UINT64_MAX - 1)))
                return "cpu";
        return NULL;
}

/* systemd has answered that it will; version 2's path, and the memory limit's in version 1, tell that it has.
 */
static const char *await_limits(pid_t pid, const char *unit, const struct configuration *c) {
        const char *missing = find_missing(pid, unit, c);

        for (unsigned i = 0; missing && i < PATIENCE_MS / LOOK_MS; i++) {
                nanosleep(&(struct timespec){ .tv_nsec = LOOK_MS * 1000000L }, NULL);
                missing = find_missing(pid, unit, c);
        }
        return missing;
}

int scope_enter(pid_t pid, const struct configuration *configuration, const char *name, struct error *error) {
        struct error reason = ERROR_INIT;
        char unit[SCOPE_NAME_SIZE];

        snprintf(unit, sizeof(unit), PREFIX "%s-%d.scope", name, (int)pid);
        int r = ask_systemd(unit, pid, configuration, &reason);
        if (r < 0)
                return error_set(error, r,
                                 "QEMU cannot be limited: %s\n"
                                 "\"memory_limit_mib\" and \"cpu_limit_percent\" take systemd and D-Bus%s",
                                 error_text(&reason, r),
                                 geteuid() == 0 ? "" : ", for users the package dbus-user-session");
        const char *missing = await_limits(pid, unit, configuration);
        if (!missing)
                return 0;
        return error_set(
                error, -EOPNOTSUPP,
                "QEMU cannot be limited: systemd made %s, but applied no limit of \"%s\"\n"
                "the controller must be delegated to your user: Delegate= in systemd.resource-control(5)",
                unit, missing);
}
