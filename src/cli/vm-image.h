/* Images: what a disk image is, and a VM's own disk over it. */
#pragma once

#include <stdint.h>

#include "base/error.h"

struct vm_image {
        char *path; /* absolute, without links */
        const char *format; /* "raw" or "qcow2" */
        uint64_t size; /* bytes of the disk that is in it */
};

/*
 * Looks at an image with qemu-img. `format` is what its owner says that it is, or NULL. What a guest could
 * write to is not believed: a raw disk may begin like a qcow2 file that names any file of the host as its
 * backing. So an image that needs another file, and one whose name and content disagree, are refused. 0 or
 * -errno, with a text.
 */
int vm_image_probe(struct vm_image *ret, const char *path, const char *format, struct error *error);
void vm_image_deinit(struct vm_image *image);

/* Makes a qcow2 disk: over an image, which is only ever read, or (NULL) empty. size_gib 0: as large as the
 * image. 0 or -errno, with a text. */
int vm_image_make_disk(const char *path, const struct vm_image *image, uint64_t size_gib,
                       struct error *error);
