/* Files: whole reads, atomic writes, directories, locks. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"

static ssize_t read_some(int fd, char *data, size_t size) {
        ssize_t n;

        do
                n = read(fd, data, size);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n;
}

int file_read(const char *path, size_t max, char **ret, size_t *ret_size, struct error *error) {
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        _cleanup_free_ char *data = NULL;
        size_t size = 0, room = 0;

        if (fd < 0)
                return error_errno(error, -errno, "cannot open %s", path);

        /* Files of /proc do not tell their size: read to the end, or one byte beyond max. */
        for (;;) {
                ssize_t n;

                if (size + 1 >= room) {
                        size_t wanted = room ? room * 2 : 4096;
                        char *grown;

                        if (wanted > max + 2)
                                wanted = max + 2;
                        grown = realloc(data, wanted);
                        if (!grown)
                                return error_errno(error, -ENOMEM, "cannot read %s", path);
                        data = grown;
                        room = wanted;
                }
                n = read_some(fd, data + size, room - 1 - size);
                if (n < 0)
                        return error_errno(error, (int)n, "cannot read %s", path);
                if (n == 0)
                        break;
                size += (size_t)n;
                if (size > max)
                        return error_set(error, -EFBIG, "%s is larger than %zu bytes", path, max);
        }

        data[size] = '\0';
        *ret = steal_ptr(data);
        *ret_size = size;
        return 0;
}

/* The directory part of a path, "." where it has none: a new string, or NULL when memory is short. */
static char *directory_of(const char *path) {
        const char *slash = strrchr(path, '/');

        if (!slash)
                return strdup(".");
        return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static int sync_directory(const char *path) {
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* What of a file is to be on the disk: nothing in particular; its content before its name; both. */
enum sync { SYNC_NONE, SYNC_CONTENT, SYNC_ALL };

/* Fills the temporary file and moves it over `path`. */
static int fill_and_rename(int fd, const char *temporary, const char *path, const char *data, size_t size,
                           mode_t mode, enum sync sync) {
        int r;

        r = fd_write_all(fd, data, size);
        if (r < 0)
                return r;
        if (fchmod(fd, mode) < 0 || (sync != SYNC_NONE && fsync(fd) < 0) || rename(temporary, path) < 0)
                return -errno;
        return 0;
}

static int write_beside(const char *path, const char *data, size_t size, mode_t mode, enum sync sync,
                        struct error *error) {
        const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
        _cleanup_free_ char *directory = directory_of(path), *temporary = NULL;
        _cleanup_fd_ int fd = -1;
        int r;

        /* The name begins with a dot, so that programs that read whole directories (dnsmasq's
         * --dhcp-hostsdir, our own networks.d) pass over it. */
        if (directory)
                temporary = text_format("%s/.%s.XXXXXX", directory, base);
        if (!temporary)
                return error_errno(error, -ENOMEM, "cannot write %s", path);

        fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0)
                return error_errno(error, -errno, "cannot create a file in %s", directory);
        r = fill_and_rename(fd, temporary, path, data, size, mode, sync);
        if (r < 0) {
                unlink(temporary);
                return error_errno(error, r, "cannot write %s", path);
        }
        if (sync == SYNC_ALL) {
                r = sync_directory(directory);
                if (r < 0)
                        return error_errno(error, r, "cannot sync %s", directory);
        }
        return 0;
}

int file_write(const char *path, const char *data, size_t size, mode_t mode, bool durable,
               struct error *error) {
        return write_beside(path, data, size, mode, durable ? SYNC_ALL : SYNC_NONE, error);
}

int file_write_ordered(const char *path, const char *data, size_t size, mode_t mode, struct error *error) {
        return write_beside(path, data, size, mode, SYNC_CONTENT, error);
}

int file_write_in_place(const char *path, const char *data, struct error *error) {
        _cleanup_fd_ int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY);
        size_t size = strlen(data);
        ssize_t n;

        if (fd < 0)
                return error_errno(error, -errno, "cannot open %s", path);
        /* One call: each write to such a file is a command of its own. */
        n = write(fd, data, size);
        if (n < 0)
                return error_errno(error, -errno, "cannot write \"%s\" to %s", data, path);
        if ((size_t)n != size)
                return error_set(error, -EIO, "cannot write \"%s\" to %s: only a part was taken", data, path);
        return 0;
}

/* mkdir where being there already is success: 1 when made, 0 when found, or -errno. */
static int make_one(const char *path, mode_t mode) {
        struct stat st;

        if (mkdir(path, mode) == 0)
                return 1;
        if (errno != EEXIST)
                return -errno;
        if (stat(path, &st) < 0)
                return -errno;
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int file_make_directory(const char *path, mode_t mode, struct error *error) {
        _cleanup_free_ char *copy = strdup(path);
        size_t n = strlen(path);
        int r;

        if (!copy)
                return error_errno(error, -ENOMEM, "cannot create the directory %s", path);
        if (n == 0)
                return error_set(error, -ENOENT, "cannot create a directory without a name");
        while (n > 1 && copy[n - 1] == '/')
                copy[--n] = '\0';

        for (char *slash = copy; (slash = strchr(slash + 1, '/'));) {
                *slash = '\0';
                r = make_one(copy, 0755);
                if (r < 0)
                        return error_errno(error, r, "cannot create the directory %s", copy);
                *slash = '/';
        }
        r = make_one(copy, mode);
        /* What the umask took from a new directory is given back. */
        if (r > 0 && chmod(copy, mode) < 0)
                r = -errno;
        if (r < 0)
                return error_errno(error, r, "cannot create the directory %s", path);
        return 0;
}

static int remove_at(int parent, const char *name, bool top);

/* Removes what is in a directory; goes on past what cannot be removed and returns the first failure. */
static int remove_contents(int consume_fd) {
        DIR *directory = fdopendir(consume_fd);
        int r = 0;

        if (!directory) {
                r = -errno;
                fd_close(consume_fd);
                return r;
        }
        for (struct dirent *entry; (entry = readdir(directory));) {
                int k;

                if (text_equal(entry->d_name, ".") || text_equal(entry->d_name, ".."))
                        continue;
                k = remove_at(dirfd(directory), entry->d_name, false);
                if (k < 0 && r == 0)
                        r = k;
        }
        closedir(directory);
        return r;
}

/* Whether a directory is where another file system, or another part of this one, is mounted. */
static int is_mount_point(int fd) {
        struct statx st;

        if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, 0, &st) < 0)
                return -errno;
        return (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

static int remove_at(int parent, const char *name, bool top) {
        _cleanup_fd_ int fd = -1;
        int r;

        /* Trying as a file first needs no look at the type, so nothing can be swapped between look and
         * removal. For a directory Linux gives EISDIR, where POSIX has EPERM; a link goes as a file. */
        if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
                return 0;
        if (errno != EISDIR && errno != EPERM)
                return -errno;
        r = -errno;

        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOTDIR || errno == ELOOP ? r : -errno;
        if (!top) {
                r = is_mount_point(fd);
                if (r != 0)
                        return r < 0 ? r : -EBUSY;
        }
        r = remove_contents(steal_fd(&fd));
        if (r < 0)
                return r;
        if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                return -errno;
        return 0;
}

int file_remove_tree(const char *path, struct error *error) {
        int r = remove_at(AT_FDCWD, path, true);

        if (r < 0)
                return error_errno(error, r, "cannot remove %s", path);
        return 0;
}

int file_lock(const char *path, bool wait, struct error *error) {
        for (;;) {
                _cleanup_fd_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
                struct stat held, named;

                if (fd < 0)
                        return error_errno(error, -errno, "cannot open %s", path);
                while (flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0) {
                        if (errno == EWOULDBLOCK)
                                return error_set(error, -EWOULDBLOCK, "%s is locked by another process",
                                                 path);
                        if (errno != EINTR)
                                return error_errno(error, -errno, "cannot lock %s", path);
                }

                /* Whoever held it may have removed the file: then this lock excludes nobody. */
                if (fstat(fd, &held) < 0)
                        return error_errno(error, -errno, "cannot lock %s", path);
                if (stat(path, &named) == 0 && named.st_dev == held.st_dev && named.st_ino == held.st_ino)
                        return steal_fd(&fd);
        }
}

void file_last_line(int fd, char *buffer, size_t size) {
        char text[4096 + 1];
        off_t end = lseek(fd, 0, SEEK_END), start = end > 4096 ? end - 4096 : 0;
        ssize_t n = end > 0 ? pread(fd, text, sizeof(text) - 1, start) : 0;

        while (n > 0 && text[n - 1] == '\n')
                n--;
        text[n > 0 ? n : 0] = '\0';
        char *line = strrchr(text, '\n');
        line = line ? line + 1 : text;
        size_t length = strnlen(line, size - 1);
        memcpy(buffer, line, length);
        buffer[length] = '\0';
        text_make_printable(buffer);
}
