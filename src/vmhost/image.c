#include "vmhost/image.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"

/* The start of docs/interop/qcow2.txt's header; all big endian. */
struct header {
        uint32_t magic; /* "QFI", 0xfb */
        uint32_t version;
        uint64_t backing_offset; /* of the name; 0: none */
        uint32_t backing_size; /* of the name, without an end mark */
} __attribute__((packed));

#define MAGIC 0x514649fbU
#define BACKING_MAX 1023 /* bytes; the format's own limit */

/* A name as QEMU takes it: a path, from the image's directory where it is relative. A "protocol:" is no file.
 */
static int resolve(const char *path, const char *name, char **ret, struct error *error) {
        const char *slash = strrchr(path, '/'), *colon = strchr(name, ':');

        if (text_starts_with(name, "file:"))
                name += 5;
        else if (colon && !memchr(name, '/', (size_t)(colon - name)))
                return error_set(error, -EINVAL, "%s stands on %s, which is no file", path, name);
        *ret = *name == '/' || !slash ? strdup(name)
                                      : text_format("%.*s/%s", (int)(slash - path), path, name);
        return *ret ? 0 : error_set(error, -ENOMEM, "out of memory");
}

int image_find_backing(const char *path, char **ret, struct error *error) {
        struct header header = { 0 };
        char name[BACKING_MAX + 1];

        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return error_errno(error, -errno, "cannot open %s", path);
        ssize_t n = pread(fd, &header, sizeof(header), 0);
        if (n < 0)
                return error_errno(error, -errno, "cannot read %s", path);
        if (n < (ssize_t)sizeof(header) || be32toh(header.magic) != MAGIC || header.backing_offset == 0) {
                *ret = NULL;
                return 0;
        }
        size_t size = be32toh(header.backing_size);
        if (size == 0 || size > BACKING_MAX || be64toh(header.backing_offset) > INT64_MAX ||
            pread(fd, name, size, (off_t)be64toh(header.backing_offset)) != (ssize_t)size)
                return error_set(error, -EINVAL, "%s has a broken header", path);
        name[size] = '\0';
        return resolve(path, name, ret, error);
}
