/* Files: whole reads, atomic writes, directories, locks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/* The whole file, NUL-terminated besides, to be freed; -EFBIG above max bytes. 0 or -errno. */
int file_read(const char *path, size_t max, char **ret, size_t *ret_size, struct error *error);

/* Writes beside the file and renames over it: a reader sees the old or the new, never half. With `durable` it is
 * also synced to the disk, with its directory. 0 or -errno. */
int file_write(const char *path, const char *data, size_t size, mode_t mode, bool durable, struct error *error);

/* The same, for a file whose older version may be on the disk already: of a machine that loses its power the new one
 * is found, or the old, and never an empty one. */
int file_write_ordered(const char *path, const char *data, size_t size, mode_t mode, struct error *error);

/* Writes an existing file in place, for /proc and /sys. 0 or -errno. */
int file_write_in_place(const char *path, const char *data, struct error *error);

/* mkdir with its parents (new ones 0755, the last one `mode`); what exists is left as it is. 0 or -errno. */
int file_make_directory(const char *path, mode_t mode, struct error *error);

/* Removes a file or a directory with all below it, following no link, not leaving the file system; nothing there
 * is success. 0 or -errno. */
int file_remove_tree(const char *path, struct error *error);

/* An exclusive flock on the file, made if absent (0600, CLOEXEC), waiting when asked: its fd, -EWOULDBLOCK or
 * another -errno. Held until the fd, and every copy of it, is closed. */
int file_lock(const char *path, bool wait, struct error *error);

/* The last line in a file that is not empty, as far as `size` and 4 KiB allow, as UTF-8, its control characters made
 * blanks, for terminals and records: "" where there is none. */
void file_last_line(int fd, char *buffer, size_t size);
