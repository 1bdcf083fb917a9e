#include "vmhost/cgroup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

#define ROOT "/sys/fs/cgroup"
#define HYBRID ROOT "/unified" /* version 2 where systemd keeps the controllers in version 1 */
#define TABLE_MAX (16 * 1024) /* bytes of /proc/PID/cgroup */
#define FILE_MAX 4096 /* bytes of a cgroup's file */

/* Whether `word` is one of `list`, whose words are separated by commas. */
static bool lists(const char *list, size_t length, const char *word) {
        size_t n = strlen(word);

        for (const char *end = list + length; list < end; list += strcspn(list, ",:") + 1)
                if (strcspn(list, ",:") == n && strncmp(list, word, n) == 0)
                        return true;
        return false;
}

/* "ID:CONTROLLERS:PATH", and "0::PATH" for version 2. */
static bool line_governs(const char *line, const char *controller, const char **ret_path) {
        const char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;

        if (!path)
                return false;
        *ret_path = path + 1;
        return controller ? lists(list + 1, (size_t)(path - list - 1), controller)
                          : text_starts_with(line, "0::");
}

/* NULL for version 2. The text is left as it was. */
static const char *find_path(char *text, const char *controller, size_t *ret_length) {
        const char *path;

        for (char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
                if (line_governs(line, controller, &path)) {
                        *ret_length = strcspn(path, "\n");
                        return path;
                }
        return NULL;
}

int cgroup_find(pid_t pid, const char *controller, char *ret, size_t size) {
        _cleanup_free_ char *text = NULL;
        char table[64];
        size_t length;
        int n;

        snprintf(table, sizeof(table), "/proc/%d/cgroup", (int)pid);
        int r = file_read(table, TABLE_MAX, &text, &length, NULL);
        if (r < 0)
                return r;
        const char *path = controller ? find_path(text, controller, &length) : NULL;
        if (path) {
                n = snprintf(ret, size, ROOT "/%s%.*s", controller, (int)length, path);
        } else {
                const char *root = access(HYBRID, F_OK) == 0 ? HYBRID : ROOT;

                path = find_path(text, NULL, &length);
                if (!path)
                        return -ENOENT;
                n = snprintf(ret, size, "%s%.*s", root, (int)length, path);
        }
        return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int cgroup_read_number(const char *directory, const char *file, uint64_t *ret) {
        _cleanup_free_ char *path = text_format("%s/%s", directory, file), *text = NULL;
        size_t size;

        if (!path)
                return -ENOMEM;
        int r = file_read(path, FILE_MAX, &text, &size, NULL);
        if (r < 0)
                return r;
        text[strcspn(text, " \n")] = '\0';
        *ret = UINT64_MAX;
        return text_equal(text, "max") || text[0] == '-' ? 0 : text_parse_u64(text, UINT64_MAX, ret);
}
