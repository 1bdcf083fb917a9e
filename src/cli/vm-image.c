/* Images: what a disk image is, and a VM's own disk over it. */
#include "cli/vm-image.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/program.h"
#include "cli/view.h"

#define GIB (UINT64_C(1) << 30)

static int run_qemu_img(const char *const *argv, char **ret_output, struct error *error) {
        int r = program_run(argv, ret_output, error);

        if (r == -ENOENT)
                return error_set(error, r,
                                 "qemu-img is not installed, which makes and checks disks\n"
                                 "on Debian: apt install qemu-utils");
        return r;
}

/* qemu-img asks where it could tell. */
static int explain(const char *path, int code, struct error *error) {
        if (!error || !strstr(error->text, "another process using the image"))
                return code;
        return error_set(error, code,
                         "%s is in use: another program writes to it\n"
                         "end that first, a VM perhaps; while layers stand on it, an image must not change",
                         path);
}

/* The format by what the owner says, or what the content looks like; *ret is a literal. */
static int choose_format(const struct vm_image *image, const char *said, const char *found, const char **ret,
                         struct error *error) {
        static const char *const known[] = { "raw", "qcow2" };
        const char *chosen = said ? said : found, *suffix = strrchr(image->path, '.');

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (text_equal(known[i], chosen))
                        *ret = known[i];
        if (!*ret)
                return error_set(error, -EINVAL,
                                 "%s is a %s image; raw and qcow2 ones can be used\n"
                                 "`qemu-img convert -O qcow2 %s NEW.qcow2` makes one of it",
                                 image->path, chosen, image->path);
        if (said || !suffix)
                return 0;
        if (text_equal(suffix, ".raw") && !text_equal(found, "raw"))
                return error_set(error, -EINVAL,
                                 "%s is called raw and has the content of a %s image\n"
                                 "--image-format says which it is",
                                 image->path, found);
        if (text_equal(suffix, ".qcow2") && !text_equal(found, "qcow2"))
                return error_set(error, -EINVAL,
                                 "%s is called qcow2 and is none: incomplete, perhaps\n"
                                 "--image-format says which it is",
                                 image->path);
        return 0;
}

/* Other files that the image needs. A confined QEMU could not open them, and one that a guest named must
 * not. */
static int check_alone(const char *path, const json_t *info, struct error *error) {
        const json_t *data = json_object_get(json_object_get(info, "format-specific"), "data");
        const char *other = view_string(info, "backing-filename");

        if (!other[0])
                other = view_string(data, "data-file");
        if (!other[0])
                return 0;
        return error_set(error, -EINVAL,
                         "%s is not whole without %s\n"
                         "`qemu-img convert -O qcow2 %s NEW.qcow2` makes one that is",
                         path, other, path);
}

int vm_image_probe(struct vm_image *ret, const char *path, const char *format, struct error *error) {
        _cleanup_(vm_image_deinit) struct vm_image image = { .path = realpath(path, NULL) };
        const char *argv[] = { "qemu-img", "info", "--output=json", "-f", format, "--", image.path, NULL };
        const char *guess[] = { "qemu-img", "info", "--output=json", "--", image.path, NULL };
        _cleanup_free_ char *text = NULL;
        json_auto_t *info = NULL;
        struct stat st;
        int r;

        if (!image.path || access(image.path, R_OK) < 0 || stat(image.path, &st) < 0)
                return error_errno(error, -errno, "cannot use the image %s", path);
        if (!S_ISREG(st.st_mode))
                return error_set(error, -EINVAL, "%s is no file", image.path);
        r = run_qemu_img(format ? argv : guess, &text, error);
        if (r < 0)
                return explain(image.path, r, error);
        info = json_loads(text, 0, NULL);
        image.size = (uint64_t)view_integer(info, "virtual-size");
        if (!info || image.size == 0)
                return error_set(error, -EINVAL, "%s holds no disk", image.path);
        r = choose_format(&image, format, view_string(info, "format"), &image.format, error);
        if (r == 0)
                r = check_alone(image.path, info, error);
        if (r < 0)
                return r;
        *ret = image;
        image = (struct vm_image){ 0 };
        return 0;
}

void vm_image_deinit(struct vm_image *image) {
        free(image->path);
        *image = (struct vm_image){ 0 };
}

int vm_image_make_disk(const char *path, const struct vm_image *image, uint64_t size_gib,
                       struct error *error) {
        const char *argv[16] = { "qemu-img", "create", "-q", "-f", "qcow2" };
        _cleanup_free_ char *size = text_format("%" PRIu64 "G", size_gib);
        size_t n = 5;
        int r;

        if (!size)
                return error_set(error, -ENOMEM, "out of memory");
        if (image && size_gib > 0 && size_gib * GIB < image->size)
                return error_set(error, -EINVAL,
                                 "--disk-size %" PRIu64 ": the image holds a disk of %" PRIu64 " GiB already",
                                 size_gib, (image->size + GIB - 1) / GIB);
        if (image) {
                argv[n++] = "-F";
                argv[n++] = image->format;
                argv[n++] = "-b";
                argv[n++] = image->path;
        }
        argv[n++] = "--";
        argv[n++] = path;
        if (size_gib > 0)
                argv[n++] = size;
        r = run_qemu_img(argv, NULL, error);
        return r < 0 ? error_prefix(error, "cannot make the disk") : 0;
}
