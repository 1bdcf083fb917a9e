/* Processes: who one is, and whether it is still the same. */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

/* The pidfd calls have wrappers only since glibc 2.36. */
int process_open(pid_t pid) {
        int fd = (int)syscall(SYS_pidfd_open, pid, 0);

        return fd < 0 ? -errno : fd;
}

int process_signal(int pidfd, int signal) {
        return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int process_take_socket(int pidfd, int fd) {
        int domain = 0;
        socklen_t size = sizeof(domain);

        if (fd < 0)
                return -ENOENT;
        int taken = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
        if (taken < 0)
                return -errno;
        if (getsockopt(taken, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_UNIX) {
                fd_close(taken);
                return -ENOTSOCK;
        }
        return taken;
}

int process_start_time(pid_t pid, uint64_t *ret) {
        _cleanup_free_ char *stat = NULL;
        char path[64], *field, *save = NULL;
        size_t size;
        int r;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        r = file_read(path, 4096, &stat, &size, NULL);
        if (r < 0)
                return r == -ENOENT ? -ESRCH : r;

        /* Field 2 is the program's name in parentheses and may hold anything, ')' and blanks too; none of the
         * fields behind it does. */
        field = strrchr(stat, ')');
        if (!field)
                return -EPROTO;
        field = strtok_r(field + 1, " ", &save);
        for (int i = 3; field && i < 22; i++)
                field = strtok_r(NULL, " ", &save);
        if (!field)
                return -EPROTO;
        return text_parse_u64(field, UINT64_MAX, ret);
}

int process_boot_id(char ret[static 37]) {
        _cleanup_free_ char *id = NULL;
        size_t size;
        int r;

        r = file_read("/proc/sys/kernel/random/boot_id", 64, &id, &size, NULL);
        if (r < 0)
                return r;
        if (size < 36)
                return -EPROTO;
        id[36] = '\0';
        if (!text_is_uuid(id))
                return -EPROTO;
        memcpy(ret, id, 37);
        return 0;
}

/* readlink(2) of any length up to PATH_MAX: a new string or NULL. */
static char *read_link(const char *path) {
        char target[PATH_MAX];
        ssize_t n = readlink(path, target, sizeof(target) - 1);

        if (n < 0)
                return NULL;
        target[n] = '\0';
        return strdup(target);
}

void process_program(pid_t pid, char *buffer, size_t size) {
        static const char deleted[] = " (deleted)"; /* an executable that was replaced (proc(5)) */
        _cleanup_free_ char *text = NULL;
        char path[64];
        const char *name;
        size_t n;

        snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
        text = read_link(path);
        if (text) {
                n = strlen(text);
                if (n > sizeof(deleted) - 1 && text_equal(text + n - (sizeof(deleted) - 1), deleted))
                        text[n - (sizeof(deleted) - 1)] = '\0';
        } else {
                snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
                if (file_read(path, 256, &text, &n, NULL) >= 0)
                        text[strcspn(text, "\n")] = '\0';
        }

        if (!text) {
                snprintf(buffer, size, "?");
                return;
        }
        name = strrchr(text, '/');
        name = name ? name + 1 : text;
        snprintf(buffer, size, "%s", name[0] ? name : "?");
        for (char *c = buffer; *c; c++)
                if (*c < ' ' || *c > '~')
                        *c = '?';
}

static bool is_program(const char *path) {
        struct stat st;

        return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
               faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

/* Looks in directories that are separated by colons. Relative and empty ones would make the working directory
 * decide what runs: they are passed over. */
static char *find_in(const char *directories, const char *name) {
        while (*directories) {
                int n = (int)strcspn(directories, ":");

                if (directories[0] == '/') {
                        _cleanup_free_ char *path = text_format("%.*s/%s", n, directories, name);

                        if (path && is_program(path))
                                return steal_ptr(path);
                }
                directories += n;
                directories += *directories == ':';
        }
        return NULL;
}

char *process_find_program(const char *name, const char *directory) {
        const char *path;
        char *found = NULL;

        if (directory) {
                found = text_format("%s/%s", directory, name);
                if (found && !is_program(found)) {
                        free(found);
                        found = NULL;
                }
                return found;
        }
        if (strchr(name, '/'))
                return is_program(name) ? strdup(name) : NULL;

        path = getenv("PATH");
        if (path)
                found = find_in(path, name);
        return found ? found : find_in("/usr/sbin:/sbin:/usr/local/sbin", name);
}

char *process_own_directory(void) {
        char *path = read_link("/proc/self/exe");
        char *slash = path ? strrchr(path, '/') : NULL;

        if (!slash) {
                free(path);
                return NULL;
        }
        slash[slash == path ? 1 : 0] = '\0';
        return path;
}
