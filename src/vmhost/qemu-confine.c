#include "vmhost/qemu-confine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "vmhost/confine.h"
#include "vmhost/console-log.h"
#include "vmhost/image.h"
#include "vmhost/qemu.h"
#include "vmhost/seed.h"

#define IMAGES_MAX 16 /* of a disk, one below the other */

/* What every QEMU reads, wherever it is installed. A path that a distribution has not is passed over. */
static const struct confine_rule system_rules[] = {
        { "/lib", CONFINE_EXECUTE, true }, /* the dynamic loader is executed too */
        { "/lib64", CONFINE_EXECUTE, true },
        { "/usr/lib", CONFINE_EXECUTE, true },
        { "/usr/lib64", CONFINE_EXECUTE, true },
        { "/usr/local/lib", CONFINE_READ, true },
        { "/nix/store", CONFINE_EXECUTE, true },
        { "/gnu/store", CONFINE_EXECUTE, true },
        { "/etc/ld.so.cache", CONFINE_READ, true },
        { "/etc/ld.so.preload", CONFINE_READ, true },
        /* QEMU's data links to firmware that is packaged apart from it. */
        { "/usr/share/seabios", CONFINE_READ, true },
        { "/usr/share/qboot", CONFINE_READ, true },
        { "/usr/share/edk2", CONFINE_READ, true },
        { "/usr/share/OVMF", CONFINE_READ, true },
        /* How many processors there are, their topology and the size of huge pages. */
        { "/sys/devices/system", CONFINE_READ, true },
        { "/sys/kernel/mm", CONFINE_READ, true },
        { "/sys/module/kvm/parameters", CONFINE_READ, true },
        { "/proc/cpuinfo", CONFINE_READ, true },
        { "/proc/meminfo", CONFINE_READ, true },
        { "/dev/null", CONFINE_DEVICE, true },
        { "/dev/zero", CONFINE_DEVICE, true },
        { "/dev/random", CONFINE_READ, true },
        { "/dev/urandom", CONFINE_READ, true },
        { "/dev/kvm", CONFINE_DEVICE, true },
};

#define OWN_RULES_MAX (8 + IMAGES_MAX + CONFIGURATION_SHARES_MAX)

struct rules {
        struct confine_rule rules[ARRAY_SIZE(system_rules) + OWN_RULES_MAX];
        size_t n;
        char *images[IMAGES_MAX]; /* whose paths the rules borrow */
        size_t n_images;
};

static void rules_deinit(struct rules *rules) {
        for (size_t i = 0; i < rules->n_images; i++)
                free(rules->images[i]);
}

/* A path that is NULL is none. */
static void add(struct rules *rules, const char *path, enum confine_access access) {
        if (path)
                rules->rules[rules->n++] = (struct confine_rule){ path, access, false };
}

static bool is_same_file(const char *a, const char *b) {
        struct stat status_a, status_b;

        return a && b && stat(a, &status_a) == 0 && stat(b, &status_b) == 0 &&
               status_a.st_dev == status_b.st_dev && status_a.st_ino == status_b.st_ino;
}

/* The images that a disk stands on. The disk's header is within the guest's reach, once it has taken over
 * QEMU; those of the images below are not, as QEMU only reads them. */
static int add_images(struct rules *rules, const struct configuration *c, struct error *error) {
        const char *image = c->disk;

        while (image) {
                char *backing = NULL;

                int r = image_find_backing(image, &backing, error);
                if (r < 0)
                        return r;
                if (!backing)
                        return 0;
                if (rules->n_images == IMAGES_MAX) {
                        free(backing);
                        return error_set(error, -ELOOP, "%s stands on more than %d images", c->disk,
                                         IMAGES_MAX);
                }
                rules->images[rules->n_images++] = backing;
                if (access(backing, F_OK) < 0)
                        return error_set(error, -errno, "%s, on which %s stands, cannot be found: %s", backing, image,
                                         strerror(errno));
                if (image == c->disk && !is_same_file(backing, c->image))
                        return error_set(error, -EINVAL,
                                         "%s stands on %s, which is not the configuration's \"image\"",
                                         c->disk, backing);
                add(rules, backing, CONFINE_READ);
                image = backing;
        }
        return 0;
}

int qemu_confine(const struct configuration *c, const struct host *host, const char *directory,
                 struct error *error) {
        _cleanup_(rules_deinit) struct rules rules = { .n = ARRAY_SIZE(system_rules) };
        _cleanup_free_ char *log = text_format("%s/" CONSOLE_LOG, directory);
        _cleanup_free_ char *seed = text_format("%s/" QEMU_SEED, directory);

        if (confine_abi() == 0)
                return error_set(error, -EOPNOTSUPP, "this kernel has no Landlock");
        if (!log || !seed)
                return error_set(error, -ENOMEM, "out of memory");
        memcpy(rules.rules, system_rules, sizeof(system_rules));
        add(&rules, host->qemu, CONFINE_EXECUTE);
        add(&rules, host->data, CONFINE_READ);
        add(&rules, log, CONFINE_WRITE);
        add(&rules, seed_is_wanted(c) ? seed : NULL, CONFINE_READ);
        add(&rules, c->kernel, CONFINE_READ);
        add(&rules, c->initrd, CONFINE_READ);
        add(&rules, c->firmware, CONFINE_READ);
        add(&rules, c->disk, CONFINE_WRITE);
        if (c->disk && c->disk_format == DISK_QCOW2) {
                int r = add_images(&rules, c, error);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < c->n_shares; i++)
                if (c->shares[i].type == SHARE_9P)
                        add(&rules, c->shares[i].path, c->shares[i].read_only ? CONFINE_READ : CONFINE_WRITE);
        return confine_prepare(rules.rules, rules.n, error);
}
