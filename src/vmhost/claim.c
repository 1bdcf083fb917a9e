#include "vmhost/claim.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "vmhost/endpoint.h"

#define GRACE 1000U /* milliseconds for one that was killed to be gone */
#define GRACE_STEP 10U

static void remember(struct claim_file *file) {
        struct stat status;

        if (lstat(file->path, &status) == 0) {
                file->device = status.st_dev;
                file->inode = status.st_ino;
        }
}

static void remove_own(struct claim_file *file) {
        struct stat status;

        if (file->inode && lstat(file->path, &status) == 0 && status.st_dev == file->device &&
            status.st_ino == file->inode)
                unlink(file->path);
        file->inode = 0;
}

/* Who has the lock, as far as the pid file tells. */
static int refuse(const struct claim *claim, const char *name, struct error *error) {
        _cleanup_free_ char *pid = NULL;
        size_t size;
        uint64_t number;

        if (file_read(claim->pid.path, 32, &pid, &size, NULL) < 0 ||
            text_parse_u64(pid, INT32_MAX, &number) < 0)
                return error_set(error, -EALREADY, "VM \"%s\" has a vmhost already", name);
        return error_set(error, -EALREADY, "VM \"%s\" has a vmhost already, process %llu", name,
                         (unsigned long long)number);
}

/* Whether the one who has the lock is there for others: not one that is killed and still goes, or has just
 * begun. */
static bool is_served(const struct claim *claim) {
        _cleanup_fd_ int fd = endpoint_connect(claim->directory, CLAIM_SOCKET);

        return fd >= 0 || fd == -EAGAIN;
}

int claim_take(struct claim *claim, const char *directory, const char *name, struct error *error) {
        _cleanup_free_ char *lock = text_format("%s/" CLAIM_LOCK, directory);

        claim->directory = strdup(directory);
        claim->pid.path = text_format("%s/" CLAIM_PID, directory);
        claim->socket.path = text_format("%s/" CLAIM_SOCKET, directory);
        if (!lock || !claim->directory || !claim->pid.path || !claim->socket.path)
                return error_errno(error, -ENOMEM, "cannot lock %s", directory);
        int r = file_lock(lock, false, error);
        for (unsigned waited = 0; r == -EWOULDBLOCK && waited < GRACE && !is_served(claim);
             waited += GRACE_STEP) {
                const struct timespec step = { .tv_nsec = GRACE_STEP * 1000000L };
                nanosleep(&step, NULL);
                r = file_lock(lock, false, error);
        }
        if (r == -EWOULDBLOCK)
                return refuse(claim, name, error);
        if (r < 0)
                return r;
        claim->lock = r;
        return 0;
}

static int remove_stale_socket(const struct claim *claim, struct error *error) {
        const char *path = claim->socket.path;
        struct stat status;

        if (lstat(path, &status) < 0)
                return errno == ENOENT ? 0 : error_errno(error, -errno, "%s", path);
        if (!S_ISSOCK(status.st_mode))
                return error_set(error, -EEXIST, "%s is there and is no socket", path);
        _cleanup_fd_ int fd = endpoint_connect(claim->directory, CLAIM_SOCKET);
        if (fd >= 0 || fd == -EAGAIN)
                return error_set(error, -EADDRINUSE, "another program listens on %s", path);
        if (fd != -ECONNREFUSED)
                return error_errno(error, fd, "cannot tell whether anybody listens on %s", path);
        if (unlink(path) < 0 && errno != ENOENT)
                return error_errno(error, -errno, "cannot remove the stale socket %s", path);
        return 0;
}

static int write_pid(struct claim *claim, struct error *error) {
        char pid[16];
        int n = snprintf(pid, sizeof(pid), "%d", (int)getpid());
        int r = file_write(claim->pid.path, pid, (size_t)n, 0644, false, error);

        if (r == 0)
                remember(&claim->pid);
        return r;
}

static int listen_for_others(struct claim *claim, struct error *error) {
        int r = fd_listen_unix(claim->socket.path, 0600);

        if (r < 0)
                return error_errno(error, r, "cannot listen on %s", claim->socket.path);
        remember(&claim->socket);
        return r;
}

int claim_publish(struct claim *claim, struct error *error) {
        int r;

        /* First, so that nobody's pid file is written over where there is somebody. */
        r = remove_stale_socket(claim, error);
        if (r < 0)
                return r;
        r = write_pid(claim, error);
        return r < 0 ? r : listen_for_others(claim, error);
}

/* Where the lock's file is not the one that we hold any more, another vmhost may be there. */
static bool is_ours(const struct claim *claim) {
        _cleanup_free_ char *path = text_format("%s/" CLAIM_LOCK, claim->directory);
        struct stat held, named;

        return path && fstat(claim->lock, &held) == 0 && lstat(path, &named) == 0 &&
               held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

static bool is_missing(const struct claim_file *file) {
        struct stat status;

        return file->inode && lstat(file->path, &status) < 0 && errno == ENOENT;
}

int claim_restore(struct claim *claim, int *ret_listening, struct error *error) {
        bool pid = is_missing(&claim->pid), socket = is_missing(&claim->socket);

        if ((!pid && !socket) || !is_ours(claim))
                return 0;
        int r = pid ? write_pid(claim, error) : 0;
        if (!socket)
                return r;
        /* More is lost without it: a pid file that cannot be written has time. */
        r = listen_for_others(claim, error);
        if (r < 0)
                return r;
        *ret_listening = r;
        return 1;
}

void claim_withdraw(struct claim *claim) {
        remove_own(&claim->socket);
        remove_own(&claim->pid);
}

void claim_deinit(struct claim *claim) {
        claim->lock = fd_close(claim->lock);
        free(claim->directory);
        free(claim->pid.path);
        free(claim->socket.path);
        *claim = CLAIM_INIT;
}
