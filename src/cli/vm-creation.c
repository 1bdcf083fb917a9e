/* Creation: making a VM's directory, and taking it away. */
#include "cli/vm-creation.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/mount.h"
#include "cli/vm-launch.h"
#include "cli/vm-state.h"

#define SWEEP_AGE 60 /* seconds */
/* What directories begin with that are not VMs yet, or no longer. */
#define MAKING ".berth-making-"
#define REMOVING ".berth-removing-"

static int out_of_memory(struct error *error) {
        return error_set(error, -ENOMEM, "out of memory");
}

static int exists(const struct vm *vm, struct error *error) {
        int r = vm_check_directory(vm, error);

        if (r < 0)
                return r;
        return error_set(error, -EEXIST,
                         "VM %s exists already\n"
                         "`berth vm rm %s` removes it, with its disk",
                         vm->name, vm->name);
}

/* The file, when vmhost has nothing against it. */
static int write_configuration(const char *directory, const struct vm *vm,
                               const struct vm_configuration *configuration, struct error *error) {
        _cleanup_free_ char *path = text_format("%s/" VM_CONFIGURATION, directory), *line = NULL;
        _cleanup_free_ char *text = json_dumps(configuration->file, JSON_INDENT(2));

        if (!path || !text)
                return out_of_memory(error);
        line = text_format("%s\n", text);
        /* Durable, with the directory's other files: what create has told of is there after a power cut. */
        int r = line ? file_write(path, line, strlen(line), 0600, true, error) : out_of_memory(error);
        return r < 0 ? r : vm_check(vm, path, error);
}

static int write_identities(const char *directory, const struct words *identities, struct error *error) {
        _cleanup_free_ char *path = text_format("%s/" VM_IDENTITIES, directory), *text = strdup("");

        for (size_t i = 0; i < identities->n_words && text; i++) {
                char *longer = text_format("%s%s\n", text, identities->words[i]);

                free(text);
                text = longer;
        }
        if (!path || !text)
                return out_of_memory(error);
        return text[0] ? file_write(path, text, strlen(text), 0600, false, error) : 0;
}

static int fill(const char *directory, const struct vm *vm, const struct vm_configuration *configuration,
                struct error *error) {
        _cleanup_free_ char *disk = text_format("%s/" VM_DISK, directory);
        const struct vm_image *image = configuration->image.path ? &configuration->image : NULL;
        int r;

        if (!disk)
                return out_of_memory(error);
        r = write_configuration(directory, vm, configuration, error);
        if (r == 0 && (image || configuration->disk_size_gib > 0))
                r = vm_image_make_disk(disk, image, configuration->disk_size_gib, error);
        if (r == 0)
                r = write_identities(directory, &configuration->identities, error);
        return r;
}

/* ---- Directories in the making ---- */

/* The lock says that somebody is at work there: closing the fd, or being killed, ends it. Or -errno. */
static int lock_directory(const char *path) {
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
                return -errno;
        return steal_fd(&fd);
}

/* Such names are nobody else's: what is not named so is not ours to sweep. */
static char *name_temporary(const struct vm *vm, const char *prefix) {
        return text_format("%s/vms/%s%s.XXXXXX", vm->config, prefix, vm->name);
}

/* PREFIX, the name of a VM, a dot, and the six characters of mkdtemp(3). */
static bool is_temporary(const char *entry) {
        static const char *const prefixes[] = { MAKING, REMOVING };
        static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        char name[64];

        for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
                const char *rest = entry + strlen(prefixes[i]), *dot;

                if (!text_starts_with(entry, prefixes[i]))
                        continue;
                dot = strrchr(rest, '.');
                if (!dot || strlen(dot + 1) != 6 || strspn(dot + 1, letters) != 6 ||
                    (size_t)(dot - rest) >= sizeof(name))
                        return false;
                *(char *)mempcpy(name, rest, (size_t)(dot - rest)) = '\0';
                return text_is_name(name);
        }
        return false;
}

/* What commands that were killed have left half made or half removed. One that has just been made is not
 * locked yet. */
static void sweep(const char *parent) {
        DIR *entries = opendir(parent);
        struct dirent *entry;

        while (entries && (entry = readdir(entries))) {
                _cleanup_free_ char *path = NULL, *mount = NULL;
                struct stat status;

                if (!is_temporary(entry->d_name))
                        continue;
                path = text_format("%s/%s", parent, entry->d_name);
                _cleanup_fd_ int fd = path ? lock_directory(path) : -1;
                if (fd >= 0 && fstat(fd, &status) == 0 && status.st_uid == geteuid() &&
                    time(NULL) - status.st_mtime > SWEEP_AGE && mount_find(path, &mount) == 0 && !mount)
                        file_remove_tree(path, NULL);
        }
        if (entries)
                closedir(entries);
}

int vm_create(const struct vm *vm, const struct vm_configuration *configuration, struct error *error) {
        _cleanup_fd_ int lock = -1;
        _cleanup_free_ char *parent = text_format("%s/vms", vm->config);
        _cleanup_free_ char *temporary = name_temporary(vm, MAKING);
        struct stat status;
        int r;

        if (!parent || !temporary)
                return out_of_memory(error);
        if (lstat(vm->directory, &status) == 0)
                return exists(vm, error);
        r = file_make_directory(parent, 0700, error);
        if (r < 0)
                return r;
        sweep(parent);
        if (!mkdtemp(temporary))
                return error_errno(error, -errno, "cannot create a directory in %s", parent);
        lock = lock_directory(temporary);
        r = lock < 0 ? error_errno(error, lock, "cannot lock %s", temporary) : 0;
        if (r == 0)
                r = fill(temporary, vm, configuration, error);
        /* Over a directory that is not empty, as each VM's is, rename fails: of two that make the same VM at
         * once only one succeeds. */
        if (r == 0 && rename(temporary, vm->directory) < 0)
                r = errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR
                            ? exists(vm, error)
                            : error_errno(error, -errno, "cannot create %s", vm->directory);
        if (r < 0)
                file_remove_tree(temporary, NULL);
        return r;
}

/* What is elsewhere is not removed by the way, and would stop a removal half way. */
static int check_whole(const struct vm *vm, struct error *error) {
        _cleanup_free_ char *target = realpath(vm->directory, NULL), *mount = NULL;
        struct stat status;
        int r;

        if (!target || lstat(vm->directory, &status) < 0)
                return error_errno(error, -errno, "cannot look at %s", vm->directory);
        if (S_ISLNK(status.st_mode))
                return error_set(error, -EXDEV,
                                 "VM %s is elsewhere: %s is a link to %s\n"
                                 "remove that directory yourself; `berth vm rm %s` removes the link then",
                                 vm->name, vm->directory, target, vm->name);
        r = mount_find(vm->directory, &mount);
        if (r < 0)
                return error_errno(error, r, "cannot look for mounts in %s", vm->directory);
        if (mount)
                return error_set(error, -EXDEV,
                                 "VM %s cannot be removed: something is mounted at %s\n"
                                 "unmount it, and try again",
                                 vm->name, mount);
        return 0;
}

int vm_remove(const struct vm *vm, struct error *error) {
        _cleanup_free_ char *lock = vm_path(vm, VM_LOCK);
        _cleanup_free_ char *temporary = name_temporary(vm, REMOVING);
        _cleanup_fd_ int fd = -1;
        int r;

        if (!lock || !temporary)
                return out_of_memory(error);
        r = vm_check_directory(vm, error);
        if (r == -ENOENT && unlink(vm->directory) == 0)
                return 0;
        if (r < 0)
                return r;
        fd = file_lock(lock, false, error);
        if (fd == -EWOULDBLOCK)
                return error_set(error, -EALREADY, "VM %s is in the hands of its vmhost", vm->name);
        if (fd < 0)
                return fd;
        if (vm_presence(vm->directory) != VM_PRESENCE_NONE)
                return error_set(error, -EALREADY, "VM %s runs", vm->name);
        r = check_whole(vm, error);
        if (r < 0)
                return r;

        /* Out of sight as a whole first: a removal that is interrupted leaves no half VM. */
        if (!mkdtemp(temporary))
                return error_errno(error, -errno, "cannot remove %s", vm->directory);
        if (rename(vm->directory, temporary) < 0) {
                r = error_errno(error, -errno, "cannot remove %s", vm->directory);
                rmdir(temporary);
                return r;
        }
        return file_remove_tree(temporary, error);
}
