/* State: what a VM's state.json says, for when there is no vmhost to ask. */
#include "cli/vm-state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/tail.h"
#include "base/text.h"
#include "cli/view.h"
#include "cli/vm-channel.h"
#include "cli/vm-clock.h"

#define STATE_MAX (1024 * 1024)
#define GONE_MS 5000

/* The last lines of the console, which nobody has put into a record. NULL when memory is short. */
static json_t *read_console(const char *directory) {
        _cleanup_free_ char *path = text_format("%s/" VM_CONSOLE_LOG, directory);
        _cleanup_fd_ int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK)
                                   : -1;
        _cleanup_(tail_freep) char **lines = tail_read(fd, TAIL_LINES);
        json_t *array = lines ? json_array() : NULL;

        for (char **line = lines; array && *line; line++)
                json_array_append_new(array, json_string(*line));
        return array;
}

/* In the words of vmhost's record_lost_run. */
static int tell_lost_run(json_t *state, const char *directory) {
        json_t *end = json_pack("{s:I, s:s, s:s, s:n, s:n, s:b, s:s, s:i, s:o}", "at",
                                (json_int_t)vm_clock_wall_ms(), "by", "unknown", "stage", "none", "exit_code",
                                "signal", "panicked", 0, "reason",
                                "it ended while no vmhost ran; this is when that was noticed", "uptime_ms", 0,
                                "console_tail", read_console(directory));

        if (json_object_set_new(state, "last_end", end) < 0 ||
            json_object_set_new(state, "phase", json_string("failed")) < 0 ||
            json_object_set_new(state, "run", json_null()) < 0)
                return -ENOMEM;
        return 0;
}

int vm_state_load(const char *directory, json_t **ret, struct error *error) {
        _cleanup_free_ char *path = text_format("%s/" VM_STATE, directory), *text = NULL;
        json_error_t problem;
        json_t *state;
        size_t size;
        int r;

        if (!path)
                return error_set(error, -ENOMEM, "out of memory");
        r = file_read(path, STATE_MAX, &text, &size, error);
        if (r == -ENOENT) {
                *ret = NULL;
                return 0;
        }
        if (r < 0)
                return r;
        state = json_loadb(text, size, 0, &problem);
        if (!json_is_object(state)) {
                json_decref(state);
                return error_set(error, -EPROTO, "%s:%d: %s", path, problem.line,
                                 state ? "no object" : problem.text);
        }
        if (json_is_object(json_object_get(state, "run")) && !vm_state_runs(state) &&
            tell_lost_run(state, directory) < 0) {
                json_decref(state);
                return error_set(error, -ENOMEM, "out of memory");
        }
        *ret = state;
        return 0;
}

bool vm_state_runs(const json_t *state) {
        const json_t *run = json_object_get(state, "run");
        int64_t pid = view_integer(run, "pid");
        uint64_t start_time;
        char boot_id[37];

        if (pid <= 0 || pid > INT_MAX || process_boot_id(boot_id) < 0 ||
            !text_equal(view_string(run, "boot_id"), boot_id))
                return false;
        _cleanup_fd_ int pidfd = process_open((pid_t)pid);
        if (pidfd < 0 || process_start_time((pid_t)pid, &start_time) < 0 ||
            start_time != (uint64_t)view_integer(run, "start_time"))
                return false;
        /* One that has ended keeps its start time until it is reaped, in a container without an init for
         * ever; its pidfd is readable (pidfd_open(2)). */
        return poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, 0) == 0;
}

enum vm_presence vm_presence(const char *directory) {
        _cleanup_fd_ int fd = vm_connect(directory, VM_CONTROL_SOCKET);
        json_auto_t *state = NULL;

        /* A full queue is somebody's too. */
        if (fd >= 0 || fd == -EAGAIN)
                return VM_PRESENCE_HOSTED;
        if (vm_state_load(directory, &state, NULL) == 0 && vm_state_runs(state))
                return VM_PRESENCE_ORPHAN;
        return VM_PRESENCE_NONE;
}

int vm_wait_gone_until(const struct vm *vm, uint64_t deadline) {
        _cleanup_free_ char *lock = vm_path(vm, VM_LOCK);
        const struct timespec pause = { .tv_nsec = 10000000 };

        if (!lock)
                return -ENOMEM;
        /* It answers for the end of the VM before its own: its lock goes last. */
        for (;;) {
                _cleanup_fd_ int fd = access(lock, F_OK) == 0 ? file_lock(lock, false, NULL) : -ENOENT;

                if (fd != -EWOULDBLOCK)
                        return 0;
                if (vm_clock_left_ms(deadline) == 0)
                        return -ETIMEDOUT;
                nanosleep(&pause, NULL);
        }
}

int vm_wait_gone(const struct vm *vm, struct error *error) {
        int r = vm_wait_gone_until(vm, vm_clock_in_ms(GONE_MS));

        if (r == -ETIMEDOUT)
                return error_set(error, r,
                                 "VM %s has ended, but its vmhost goes on\n"
                                 "%s/" VM_LOG " may say why",
                                 vm->name, vm->directory);
        return r < 0 ? error_set(error, r, "out of memory") : 0;
}
