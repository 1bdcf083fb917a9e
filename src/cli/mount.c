/* Mounts: what is in the way of a removal. */
#include "cli/mount.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

#define TABLE_MAX (64 * 1024 * 1024)
#define MOUNT_POINT 4 /* the field of a line of mountinfo, from 0 (proc_pid_mountinfo(5)) */

/* Blanks, newlines and backslashes of a path stand there as three octal digits. */
static void unescape(char *path) {
        char *out = path;

        for (char *c = path; *c; c++) {
                if (c[0] == '\\' && strspn(c + 1, "01234567") >= 3) {
                        *out++ = (char)((c[1] - '0') * 64 + (c[2] - '0') * 8 + (c[3] - '0'));
                        c += 3;
                } else {
                        *out++ = *c;
                }
        }
        *out = '\0';
}

int mount_find(const char *directory, char **ret) {
        _cleanup_free_ char *table = NULL, *path = realpath(directory, NULL);
        size_t size;
        char *rest;
        int r;

        if (!path)
                return -errno;
        r = file_read("/proc/self/mountinfo", TABLE_MAX, &table, &size, NULL);
        if (r < 0)
                return r;
        rest = table;
        for (char *line; (line = strsep(&rest, "\n"));) {
                char *field = NULL;

                for (int i = 0; i <= MOUNT_POINT; i++)
                        field = strsep(&line, " ");
                if (!field)
                        continue;
                unescape(field);
                if (!text_starts_with(field, path) ||
                    (field[strlen(path)] != '/' && field[strlen(path)] != '\0'))
                        continue;
                *ret = strdup(field);
                return *ret ? 0 : -ENOMEM;
        }
        *ret = NULL;
        return 0;
}
