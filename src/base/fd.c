/* File descriptors: ownership, clean-up, and the few calls that every program needs. */
#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int fd_close(int fd) {
        int saved = errno;

        /* Linux frees the number even when close fails (close(2), "Dealing with error returns"). */
        if (fd >= 0)
                close(fd);
        errno = saved;
        return -1;
}

void fd_closep(int *fd) {
        *fd = fd_close(*fd);
}

void fd_close_others(unsigned from, const int *kept, size_t n) {
        for (unsigned next; from < UINT_MAX; from = next + 1) {
                next = UINT_MAX - 1; /* the first from here on that is kept, or beyond all */
                for (size_t i = 0; i < n; i++)
                        if (kept[i] >= 0 && (unsigned)kept[i] >= from && (unsigned)kept[i] < next)
                                next = (unsigned)kept[i];
                if (next > from)
                        close_range(from, next - 1, 0);
        }
}

int fd_set_nonblock(int fd, bool nonblock) {
        int flags = fcntl(fd, F_GETFL);
        int wanted;

        if (flags < 0)
                return -errno;
        wanted = nonblock ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
        if (wanted != flags && fcntl(fd, F_SETFL, wanted) < 0)
                return -errno;
        return 0;
}

int fd_set_cloexec(int fd, bool cloexec) {
        if (fcntl(fd, F_SETFD, cloexec ? FD_CLOEXEC : 0) < 0)
                return -errno;
        return 0;
}

int fd_dup(int fd) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

        return copy < 0 ? -errno : copy;
}

int fd_write_all(int fd, const void *data, size_t size) {
        const char *next = data;

        while (size > 0) {
                ssize_t n = write(fd, next, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                next += n;
                size -= (size_t)n;
        }
        return 0;
}

int fd_fill_standard(void) {
        int fd;

        do {
                fd = open("/dev/null", O_RDWR | O_CLOEXEC);
                if (fd < 0)
                        return -errno;
        } while (fd <= STDERR_FILENO && fcntl(fd, F_SETFD, 0) == 0);
        fd_close(fd);
        return 0;
}

int fd_socketpair(int ret[static 2], bool nonblock) {
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (nonblock ? SOCK_NONBLOCK : 0), 0, pair) < 0)
                return -errno;
        ret[0] = pair[0];
        ret[1] = pair[1];
        return 0;
}

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

void fd_refuse_rights(int socket) {
        int saved = errno;

        setsockopt(socket, SOL_SOCKET, SO_PASSRIGHTS, &(int){ 0 }, sizeof(int));
        errno = saved;
}

/*
 * Makes the address of a path. One that does not fit sun_path is written as /proc/self/fd/N/REST, where N is
 * opened here, belongs to the caller, and must stay open while the address is used. For `bind` N is the
 * directory; for `connect` it is the socket itself, so that a last component of any length works too.
 */
static int make_address(const char *path, bool for_bind, struct sockaddr_un *ret, int *ret_fd) {
        const char *base = strrchr(path, '/');
        _cleanup_fd_ int fd = -1;
        char directory[4096];
        int n;

        if (!path[0])
                return -EINVAL;
        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        if (strlen(path) < sizeof(ret->sun_path)) {
                memcpy(ret->sun_path, path, strlen(path) + 1);
                *ret_fd = -1;
                return 0;
        }

        if (for_bind) {
                n = snprintf(directory, sizeof(directory), "%.*s", base ? (int)(base - path) + 1 : 1,
                             base ? path : ".");
                if ((size_t)n >= sizeof(directory))
                        return -ENAMETOOLONG;
                base = base ? base + 1 : path;
        }
        fd = open(for_bind ? directory : path, O_PATH | O_CLOEXEC | (for_bind ? O_DIRECTORY : 0));
        if (fd < 0)
                return -errno;

        if (for_bind)
                n = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", fd, base);
        else
                n = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d", fd);
        if ((size_t)n >= sizeof(ret->sun_path))
                return -ENAMETOOLONG;
        *ret_fd = steal_fd(&fd);
        return 0;
}

int fd_listen_unix(const char *path, mode_t mode) {
        _cleanup_fd_ int fd = -1, directory = -1;
        struct sockaddr_un address;
        int r;

        r = make_address(path, true, &address, &directory);
        if (r < 0)
                return r;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;

        /* bind gives the new file the socket's own mode less the umask: so it is never wider than asked, not
         * even for a moment; the chmod behind it gives back what the umask took. */
        if (fchmod(fd, mode) < 0)
                return -errno;
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return -errno;
        if (chmod(address.sun_path, mode) < 0 || listen(fd, SOMAXCONN) < 0) {
                r = -errno;
                unlink(address.sun_path);
                return r;
        }
        return steal_fd(&fd);
}

int fd_connect_unix(const char *path) {
        _cleanup_fd_ int fd = -1, target = -1;
        struct sockaddr_un address;
        int r;

        r = make_address(path, false, &address, &target);
        if (r < 0)
                return r;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        /* A Unix connect that a signal interrupts has done nothing yet, unlike one over TCP: try again. */
        while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                if (errno != EINTR)
                        return -errno;
        return steal_fd(&fd);
}

size_t fd_count_open(void) {
        DIR *directory = opendir("/proc/self/fd");
        size_t n = 0;

        if (!directory)
                return 0;
        for (struct dirent *entry; (entry = readdir(directory));)
                if (entry->d_name[0] != '.')
                        n++;
        closedir(directory);
        return n - 1; /* less the directory's own */
}
