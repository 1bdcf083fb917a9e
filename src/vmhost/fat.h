/* FAT: makes a small FAT16 file system with files in its root directory. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/* Contents are borrowed until fat_write. */
struct fat;

#define FAT_FILES_MAX 16
#define FAT_NAME_MAX 64 /* bytes, ASCII */

/* `label`: the volume's, at most 11 capital letters and digits. -ENOMEM. */
int fat_new(struct fat **ret, const char *label);
struct fat *fat_free(struct fat *fat);
void fat_freep(struct fat **fat);

/* A name is used once. -ENAMETOOLONG, -ENFILE (too many files), -EFBIG (they do not fit, together). */
int fat_add(struct fat *fat, const char *name, const void *data, size_t size);

/*
 * Writes the image beside `path` and renames it there: who has the old one open keeps it. The same contents
 * are the same bytes. Free space takes none on the disk.
 */
int fat_write(const struct fat *fat, const char *path, mode_t mode, struct error *error);
