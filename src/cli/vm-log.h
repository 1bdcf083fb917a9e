/* Log: what a VM's console printed, from its file. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "cli/vm-directory.h"

/*
 * QEMU writes console.log; when it grows too long, or a new run begins, its older part becomes console.log.1.
 * A follower goes on over both without losing a byte.
 */
struct vm_log {
        const struct vm *vm; /* borrowed */
        int fd; /* the file; -1 while there is none */
        ino_t inode, old_inode; /* of console.log.1: 0 where there is none */
        int64_t offset; /* what was printed */
        int watch; /* inotify, of the directory */
        int stop; /* borrowed: no more is printed when it becomes readable; -1 for none */
        bool patient; /* a vmhost that does not answer is told of on standard error, and waited for */
};

#define VM_LOG_INIT ((struct vm_log){ .fd = -1, .watch = -1, .stop = -1 })

/* 0 or -errno; there need not be a file yet. */
int vm_log_open(struct vm_log *ret, const struct vm *vm, struct error *error);
void vm_log_close(struct vm_log *log);

/* Prints the last lines of the file, or all of it (lines UINT64_MAX); with `older` as if console.log.1 were
 * the beginning of it. 0 or -errno. */
int vm_log_print(struct vm_log *log, uint64_t lines, bool older, struct error *error);
/* Prints what has come since. 0, 1 where it was stopped, or -errno. */
int vm_log_drain(struct vm_log *log, struct error *error);
/* Goes on printing until the VM has ended for good: 0; 1 when stop_fd (-1: none) becomes readable; or -errno,
 * -EPIPE (or SIGPIPE) as soon as nobody reads standard output any more, -ETIMEDOUT when vmhost does not
 * answer any more and log->patient is not set. */
int vm_log_follow(struct vm_log *log, int stop_fd, struct error *error);
