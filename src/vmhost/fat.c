/*
 * The layout is that of Microsoft's "FAT: General Overview of On-Disk Format" 1.03 (fatgen103): boot sector,
 * two tables, root directory, clusters. Files lie one after the other, each in one piece. The number of
 * clusters alone makes it FAT16.
 */
#include "vmhost/fat.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"

#define SECTOR 512 /* bytes, and one cluster */
#define ROOT_ENTRIES 512
#define ENTRY 32 /* bytes of a directory entry */
#define ROOT_SECTORS (ROOT_ENTRIES * ENTRY / SECTOR)
/* Below 4085 clusters it would be FAT12, and from 65525 on FAT32. */
#define CLUSTERS_MIN 8192
#define CLUSTERS_MAX 65000
#define FIRST_CLUSTER 2

#define ATTRIBUTE_VOLUME 0x08
#define ATTRIBUTE_ARCHIVE 0x20
#define ATTRIBUTE_LONG_NAME 0x0f
#define LONG_NAME_LAST 0x40
#define LONG_NAME_UNITS 13 /* UTF-16 units in an entry */
#define DATE_1980 0x21 /* the first day that there is: images must not differ by time */

struct file {
        char name[FAT_NAME_MAX + 1];
        const void *data;
        size_t size;
};

struct fat {
        char label[11]; /* filled up with blanks */
        struct file files[FAT_FILES_MAX];
        size_t n_files;
        size_t clusters; /* in use */
};

int fat_new(struct fat **ret, const char *label) {
        struct fat *fat = calloc(1, sizeof(*fat));

        if (!fat)
                return -ENOMEM;
        memset(fat->label, ' ', sizeof(fat->label));
        memcpy(fat->label, label, strnlen(label, sizeof(fat->label)));
        *ret = fat;
        return 0;
}

struct fat *fat_free(struct fat *fat) {
        free(fat);
        return NULL;
}

void fat_freep(struct fat **fat) {
        *fat = fat_free(*fat);
}

static size_t clusters_of(size_t size) {
        return (size + SECTOR - 1) / SECTOR;
}

int fat_add(struct fat *fat, const char *name, const void *data, size_t size) {
        if (strlen(name) > FAT_NAME_MAX)
                return -ENAMETOOLONG;
        if (fat->n_files == FAT_FILES_MAX)
                return -ENFILE;
        if (size > (size_t)CLUSTERS_MAX * SECTOR || fat->clusters + clusters_of(size) > CLUSTERS_MAX)
                return -EFBIG;

        struct file *file = &fat->files[fat->n_files++];
        strcpy(file->name, name);
        file->data = data;
        file->size = size;
        fat->clusters += clusters_of(size);
        return 0;
}

static void put16(uint8_t *at, unsigned value) {
        at[0] = (uint8_t)value;
        at[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *at, uint32_t value) {
        put16(at, value & 0xffff);
        put16(at + 2, value >> 16);
}

static size_t volume_clusters(const struct fat *fat) {
        return fat->clusters > CLUSTERS_MIN ? fat->clusters : CLUSTERS_MIN;
}

/* Sectors of one table: two bytes for each cluster, and for the two numbers before the first. */
static size_t table_sectors(const struct fat *fat) {
        return clusters_of((volume_clusters(fat) + FIRST_CLUSTER) * 2);
}

static size_t volume_sectors(const struct fat *fat) {
        return 1 + 2 * table_sectors(fat) + ROOT_SECTORS + volume_clusters(fat);
}

static void put_boot_sector(const struct fat *fat, uint8_t *at) {
        memcpy(at, "\xeb\x3c\x90", 3); /* a jump over what follows */
        memcpy(at + 3, "MSWIN4.1", 8); /* the name that all drivers accept */
        put16(at + 11, SECTOR);
        at[13] = 1; /* sectors of a cluster */
        put16(at + 14, 1); /* reserved: this one */
        at[16] = 2; /* tables */
        put16(at + 17, ROOT_ENTRIES);
        if (volume_sectors(fat) < 0x10000)
                put16(at + 19, (unsigned)volume_sectors(fat));
        else
                put32(at + 32, (uint32_t)volume_sectors(fat));
        at[21] = 0xf8; /* a fixed disk */
        put16(at + 22, (unsigned)table_sectors(fat));
        put16(at + 24, 32); /* sectors of a track, heads: nobody asks, zero is refused */
        put16(at + 26, 2);
        at[36] = 0x80; /* drive number of a fixed disk */
        at[38] = 0x29; /* the three members behind it are there */
        memcpy(at + 39, fat->label, 4); /* serial number */
        memcpy(at + 43, fat->label, sizeof(fat->label));
        memcpy(at + 54, "FAT16   ", 8);
        put16(at + 510, 0xaa55);
}

static void put_table(const struct fat *fat, uint8_t *at) {
        unsigned cluster = FIRST_CLUSTER;

        put16(at, 0xfff8); /* the media byte again */
        put16(at + 2, 0xffff);
        for (size_t i = 0; i < fat->n_files; i++)
                for (size_t n = clusters_of(fat->files[i].size); n > 0; n--, cluster++)
                        put16(at + 2 * cluster, n > 1 ? cluster + 1 : 0xffff);
}

/* Binds the long name to its short one (fatgen103, "ChkSum"). */
static uint8_t checksum(const char short_name[static 11]) {
        uint8_t sum = 0;

        for (size_t i = 0; i < 11; i++)
                sum = (uint8_t)(((sum & 1) << 7) + (sum >> 1) + (uint8_t)short_name[i]);
        return sum;
}

/* The entry with units 13 * number and on; behind the name's end comes a zero, and then all ones. */
static void put_long_name(uint8_t *at, const char *name, size_t number, bool last, uint8_t sum) {
        static const uint8_t places[LONG_NAME_UNITS] = { 1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30 };
        size_t length = strlen(name);

        at[0] = (uint8_t)(number + 1) | (last ? LONG_NAME_LAST : 0);
        at[11] = ATTRIBUTE_LONG_NAME;
        at[13] = sum;
        for (size_t i = 0; i < LONG_NAME_UNITS; i++) {
                size_t unit = number * LONG_NAME_UNITS + i;

                put16(at + places[i], unit < length ? (uint8_t)name[unit] : unit == length ? 0 : 0xffff);
        }
}

static void put_short_entry(uint8_t *at, const char *name, uint8_t attribute, unsigned cluster, size_t size) {
        memcpy(at, name, 11);
        at[11] = attribute;
        put16(at + 16, DATE_1980); /* made, used, written */
        put16(at + 18, DATE_1980);
        put16(at + 24, DATE_1980);
        put16(at + 26, cluster);
        put32(at + 28, (uint32_t)size);
}

/* FAT_FILES_MAX names of FAT_NAME_MAX bytes fit: 6 entries each of the 512. */
static void put_root(const struct fat *fat, uint8_t *at) {
        unsigned cluster = FIRST_CLUSTER;

        put_short_entry(at, fat->label, ATTRIBUTE_VOLUME, 0, 0);
        at += ENTRY;
        for (size_t i = 0; i < fat->n_files; i++) {
                const struct file *file = &fat->files[i];
                size_t parts = (strlen(file->name) + LONG_NAME_UNITS - 1) / LONG_NAME_UNITS;
                char short_name[16];

                snprintf(short_name, sizeof(short_name), "FILE~%-6u", (unsigned)i);
                for (size_t part = parts; part > 0; part--, at += ENTRY)
                        put_long_name(at, file->name, part - 1, part == parts, checksum(short_name));
                put_short_entry(at, short_name, ATTRIBUTE_ARCHIVE, file->size > 0 ? cluster : 0, file->size);
                at += ENTRY;
                cluster += (unsigned)clusters_of(file->size);
        }
}

/* All of the image that is in use: a new buffer, or NULL. */
static uint8_t *render(const struct fat *fat, size_t *ret_size) {
        size_t table = table_sectors(fat) * SECTOR, data = SECTOR + 2 * table + ROOT_SECTORS * SECTOR;
        uint8_t *image = calloc(1, data + fat->clusters * SECTOR);

        if (!image)
                return NULL;
        put_boot_sector(fat, image);
        put_table(fat, image + SECTOR);
        memcpy(image + SECTOR + table, image + SECTOR, table);
        put_root(fat, image + SECTOR + 2 * table);
        *ret_size = data + fat->clusters * SECTOR;
        for (size_t i = 0; i < fat->n_files; i++) {
                if (fat->files[i].size > 0)
                        memcpy(image + data, fat->files[i].data, fat->files[i].size);
                data += clusters_of(fat->files[i].size) * SECTOR;
        }
        return image;
}

int fat_write(const struct fat *fat, const char *path, mode_t mode, struct error *error) {
        size_t size;
        _cleanup_free_ uint8_t *image = render(fat, &size);
        _cleanup_free_ char *temporary = text_format("%s.new", path);
        if (!image || !temporary)
                return error_set(error, -ENOMEM, "out of memory");

        unlink(temporary);
        _cleanup_fd_ int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
        if (fd < 0)
                return error_errno(error, -errno, "cannot make %s", temporary);
        int r = fd_write_all(fd, image, size);
        if (r == 0 && ftruncate(fd, (off_t)(volume_sectors(fat) * SECTOR)) < 0)
                r = -errno;
        if (r == 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0) {
                unlink(temporary);
                return error_errno(error, r, "cannot write %s", path);
        }
        return 0;
}
