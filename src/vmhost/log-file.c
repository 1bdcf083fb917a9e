#include "vmhost/log-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "vmhost/qemu.h"
#include "vmhost/virtiofs.h"

int log_file_bound(const char *directory, const char *name, uint64_t max) {
        _cleanup_free_ char *path = text_format("%s/%s", directory, name), *end = NULL;
        struct stat status;

        if (!path)
                return -ENOMEM;
        /* Mostly all there is to do, every other second. */
        if (lstat(path, &status) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size <= max)
                return 0;
        _cleanup_fd_ int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        end = malloc(LOG_FILE_KEPT);
        if (!end)
                return -ENOMEM;
        off_t from = status.st_size > LOG_FILE_KEPT ? status.st_size - LOG_FILE_KEPT : 0;
        ssize_t n = pread(fd, end, LOG_FILE_KEPT, from);
        if (n < 0)
                return -errno;
        const char *newline = memchr(end, '\n', (size_t)n);
        const char *begin = newline && newline + 1 < end + n ? newline + 1 : end;
        if (ftruncate(fd, 0) < 0)
                return -errno;
        ssize_t put = write(fd, begin, (size_t)(end + n - begin));
        return put < 0 ? -errno : 0;
}

static void bound(const char *directory, const char *name) {
        int r = log_file_bound(directory, name, LOG_FILE_MAX);

        if (r < 0)
                log_debug("cannot shorten %s: %s", name, strerror(-r));
}

void log_file_bound_all(const char *directory, const struct configuration *configuration) {
        char name[64];

        bound(directory, QEMU_LOG);
        bound(directory, LOG_FILE_VMHOST);
        for (size_t i = 0; configuration && i < configuration->n_shares; i++)
                if (configuration->shares[i].type == SHARE_VIRTIOFS) {
                        snprintf(name, sizeof(name), VIRTIOFS_LOG, configuration->shares[i].tag);
                        bound(directory, name);
                }
}
