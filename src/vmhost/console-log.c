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

json_t *console_tail(const char *directory, size_t lines) {
        _cleanup_fd_ int fd = open_log(directory, O_RDONLY);
        _cleanup_(tail_freep) char **tail = tail_read(fd, lines);
        json_t *array = json_array();

        for (char **line = tail; array && line && *line; line++)
                json_array_append_new(array, json_string(*line));
        return array;
}
