/* Log: what a VM's console printed, from its file. */
#include "cli/vm-log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "cli/output.h"
#include "cli/vm-channel.h"
#include "cli/vm-clock.h"
#include "cli/vm-pulse.h"
#include "cli/vm-request.h"
#include "cli/vm-state.h"
#include "loop/loop.h"

#define BLOCK 65536
#define LOOK_MS 500 /* between looks at whether a VM without a vmhost still runs */

static int open_file(const struct vm *vm, const char *name) {
        _cleanup_free_ char *path = vm_path(vm, name);
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : -1;

        return fd < 0 ? -errno : fd;
}

static ino_t inode_of(int fd) {
        struct stat st;

        return fd >= 0 && fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* Opens the file that has the name now, if it is another than before. */
static void open_current(struct vm_log *log) {
        _cleanup_fd_ int fd = open_file(log->vm, VM_CONSOLE_LOG);
        _cleanup_fd_ int old = open_file(log->vm, VM_CONSOLE_LOG_OLD);

        if (fd < 0 || (log->fd >= 0 && inode_of(fd) == log->inode))
                return;
        fd_close(log->fd);
        log->fd = steal_fd(&fd);
        log->inode = inode_of(log->fd);
        log->old_inode = inode_of(old);
        log->offset = 0;
}

int vm_log_open(struct vm_log *ret, const struct vm *vm, struct error *error) {
        _cleanup_(vm_log_close) struct vm_log log = VM_LOG_INIT;

        log.vm = vm;
        log.watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        /* Before the first look: what comes between is not missed. */
        if (log.watch < 0 ||
            inotify_add_watch(log.watch, vm->directory, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) < 0)
                return error_errno(error, -errno, "cannot watch %s", vm->directory);
        open_current(&log);
        *ret = log;
        log = VM_LOG_INIT;
        return 0;
}

void vm_log_close(struct vm_log *log) {
        log->fd = fd_close(log->fd);
        log->watch = fd_close(log->watch);
}

/* Prints from *offset to `end`, or to the file's end, and moves *offset. 0, 1 where it was stopped, or -errno.
 */
static int print_range(const struct vm_log *log, int fd, int64_t *offset, int64_t end, struct error *error) {
        _cleanup_fd_ int output = output_open();
        char block[BLOCK];

        if (output < 0)
                return error_errno(error, output, "cannot print the console's log");
        while (*offset < end) {
                size_t wanted = end - *offset < BLOCK ? (size_t)(end - *offset) : BLOCK;
                ssize_t n = pread(fd, block, wanted, *offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(error, -errno, "cannot read the console's log");
                if (n == 0)
                        break;
                int r = output_write(output, block, (size_t)n, log->stop);
                if (r != 0)
                        return r < 0 ? error_errno(error, r, "cannot print the console's log") : r;
                *offset += n;
        }
        return 0;
}

/* Where the last *lines of a file begin; *lines becomes how many it lacks. A line at the end that is not
 * finished counts. UINT64_MAX is all, of which none is lacking or too many. */
static int64_t find_lines(int fd, int64_t size, uint64_t *lines) {
        char block[BLOCK];
        int64_t end = size;

        if (*lines == UINT64_MAX)
                return 0;
        if (*lines == 0)
                return size;
        while (end > 0) {
                int64_t begin = end > BLOCK ? end - BLOCK : 0;
                ssize_t n = pread(fd, block, (size_t)(end - begin), begin);

                if (n != end - begin)
                        return begin;
                for (ssize_t i = n; i > 0; i--) {
                        /* The newline that ends the last line begins none. */
                        if (block[i - 1] != '\n' || begin + i == size)
                                continue;
                        if (--*lines == 0)
                                return begin + i;
                }
                end = begin;
        }
        *lines -= size > 0;
        return 0;
}

int vm_log_print(struct vm_log *log, uint64_t lines, bool older, struct error *error) {
        _cleanup_fd_ int old = older ? open_file(log->vm, VM_CONSOLE_LOG_OLD) : -1;
        struct stat st = { 0 }, old_st;
        int r = 0;

        if (log->fd >= 0 && fstat(log->fd, &st) < 0)
                return error_errno(error, -errno, "cannot read the console's log");
        log->offset = log->fd >= 0 ? find_lines(log->fd, st.st_size, &lines) : 0;
        if (old >= 0 && fstat(old, &old_st) == 0) {
                int64_t offset = find_lines(old, old_st.st_size, &lines);

                r = print_range(log, old, &offset, old_st.st_size, error);
        }
        return r != 0 || log->fd < 0 ? r : print_range(log, log->fd, &log->offset, st.st_size, error);
}

/*
 * Where the older part of the file was moved to console.log.1, which is a new file then: what of that was not
 * printed yet comes first, and the file goes on behind what was. In the moment between the two steps the file
 * is shorter than what was printed of it; then this is for the next time.
 */
static int follow_rotation(struct vm_log *log, struct error *error) {
        _cleanup_fd_ int old = open_file(log->vm, VM_CONSOLE_LOG_OLD);
        struct stat st;
        int r = 0;

        /* Where it is the file itself, a new run has begun. */
        if (old < 0 || fstat(old, &st) < 0 || st.st_ino == log->old_inode || st.st_ino == log->inode)
                return 0;
        log->old_inode = st.st_ino;
        if (log->offset < st.st_size)
                r = print_range(log, old, &log->offset, st.st_size, error);
        log->offset = log->offset > st.st_size ? log->offset - st.st_size : 0;
        return r;
}

int vm_log_drain(struct vm_log *log, struct error *error) {
        int r = 0;

        for (int i = 0; r == 0 && i < 2; i++) {
                struct stat st;

                if (log->fd >= 0) {
                        r = follow_rotation(log, error);
                        if (r == 0 && fstat(log->fd, &st) == 0)
                                r = print_range(log, log->fd, &log->offset, st.st_size, error);
                }
                /* A new run has a new file; the old one is read to its end first. */
                open_current(log);
        }
        return r;
}

static void discard_events(int watch) {
        char events[4096];

        while (read(watch, events, sizeof(events)) > 0)
                continue;
}

int vm_log_follow(struct vm_log *log, int stop_fd, struct error *error) {
        _cleanup_(vm_channel_freep) struct vm_channel *end = NULL;
        _cleanup_(vm_pulse_end) struct vm_pulse pulse;
        bool told = false; /* that it does not answer */
        uint64_t again = 0; /* loop_now: not before, where vmhost refused the last */

        log->stop = stop_fd;
        vm_pulse_begin(&pulse, log->vm->directory);
        for (;;) {
                struct pollfd pollfds[] = {
                        { .fd = log->watch, .events = POLLIN },
                        { .fd = stop_fd, .events = POLLIN },
                        { .fd = -1, .events = POLLIN },
                        { .fd = STDOUT_FILENO },
                };
                bool over;
                int r;

                if (!end && loop_now() >= again && vm_channel_watch(&end, log->vm->directory, "wait") < 0)
                        end = NULL;
                over = !end && vm_presence(log->vm->directory) == VM_PRESENCE_NONE;
                r = vm_log_drain(log, error);
                if (r != 0 || over)
                        return r;
                pollfds[2].fd = end ? vm_channel_fd(end) : -1;
                if (poll(pollfds, ARRAY_SIZE(pollfds), end ? vm_clock_left_ms(pulse.next) : LOOK_MS) < 0 &&
                    errno != EINTR)
                        return error_errno(error, -errno, "cannot wait for the console's log");
                discard_events(log->watch);
                if (pollfds[1].revents)
                        return 1;
                /* Nobody reads any more: as the next write would find, which may never come. */
                if (pollfds[3].revents) {
                        raise(SIGPIPE);
                        return error_errno(error, -EPIPE, "cannot print the console's log");
                }
                /* What it owes may have come in this moment. */
                bool silent = vm_pulse_look(&pulse) && !pollfds[2].revents;
                if (silent && !log->patient)
                        return vm_silent(error, log->vm, pulse.since_ms);
                if (silent && !told)
                        vm_tell_silent(log->vm->name, log->vm->directory, pulse.since_ms);
                else if (told && !silent && vm_presence(log->vm->directory) == VM_PRESENCE_HOSTED)
                        fprintf(stderr, "berth: the vmhost of %s answers again\n", log->vm->name);
                told = silent;
                /* The VM has ended for good, or its vmhost was killed, or has too many who wait for that. */
                if (pollfds[2].revents) {
                        json_auto_t *reply = NULL;

                        r = vm_channel_next(end, &reply);
                        if (r > 0)
                                return vm_log_drain(log, error);
                        if (r < 0)
                                end = vm_channel_free(end);
                        if (r < 0)
                                again = vm_clock_in_ms(LOOK_MS);
                }
        }
}
