/* VM directories: where VMs are on disk, and which one a name means. */
#include "cli/vm-directory.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/place.h"
#include "base/text.h"
#include "cli/arguments.h"

int vm_config_directory(struct session *session, char **ret) {
        const char *chosen = getenv("BERTH_CONFIG_DIR");

        if (chosen && chosen[0]) {
                /* vmhost gets it as an argument and works in another directory. */
                *ret = realpath(chosen, NULL);
                if (!*ret && errno == ENOENT && chosen[0] == '/')
                        *ret = strdup(chosen);
                if (!*ret)
                        return error_errno(&session->error, -errno, "BERTH_CONFIG_DIR=%s", chosen);
                return 0;
        }
        return place_state(session->system || geteuid() == 0, ret, &session->error);
}

static int fill(struct session *session, const char *name, struct vm *ret) {
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        int r;

        r = vm_config_directory(session, &vm.config);
        if (r < 0)
                return r;
        vm.name = strdup(name);
        vm.directory = text_format("%s/vms/%s", vm.config, name);
        if (!vm.name || !vm.directory)
                return error_set(&session->error, -ENOMEM, "out of memory");
        *ret = vm;
        vm = (struct vm){ 0 };
        return 0;
}

/* The text for a VM that is not there, with the name that was probably meant. */
static int unknown(struct session *session, const struct vm *vm) {
        _cleanup_(vm_names_freep) char **names = NULL;
        const char *nearest = NULL;
        size_t n = 0;

        if (vm_names(vm->config, &names, &n, NULL) == 0 && n > 0)
                nearest = arguments_nearest(vm->name, (const char *const *)names, n);
        if (nearest)
                return error_set(&session->error, -ENOENT, "there is no VM %s; did you mean %s?", vm->name,
                                 nearest);
        return error_set(&session->error, -ENOENT,
                         "there is no VM %s in %s/vms\n"
                         "`berth vm ls` lists the VMs there are, `berth vm create` makes one",
                         vm->name, vm->config);
}

int vm_find_entry(struct session *session, const char *name, struct vm *ret) {
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        struct stat status;
        int r;

        if (!text_is_name(name))
                return session_misused(session, "\"%s\" is no name of a VM", name);
        r = fill(session, name, &vm);
        if (r < 0)
                return r;
        if (lstat(vm.directory, &status) < 0) {
                if (errno == ENOENT)
                        return unknown(session, &vm);
                return error_errno(&session->error, -errno, "cannot look at %s", vm.directory);
        }
        *ret = vm;
        vm = (struct vm){ 0 };
        return 0;
}

int vm_find(struct session *session, const char *name, struct vm *ret) {
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        int r;

        r = vm_find_entry(session, name, &vm);
        if (r == 0)
                r = vm_check_directory(&vm, &session->error);
        if (r < 0)
                return r;
        *ret = vm;
        vm = (struct vm){ 0 };
        return 0;
}

int vm_check_directory(const struct vm *vm, struct error *error) {
        struct stat status;

        if (stat(vm->directory, &status) < 0 && errno == ENOENT)
                return error_set(error, -ENOENT,
                                 "VM %s is gone: %s is a link to what is not there\n"
                                 "`berth vm rm %s` removes the link",
                                 vm->name, vm->directory, vm->name);
        if (stat(vm->directory, &status) < 0)
                return error_errno(error, -errno, "cannot look at %s", vm->directory);
        if (!S_ISDIR(status.st_mode))
                return error_set(error, -ENOTDIR,
                                 "there is no VM %s: %s is no directory\n"
                                 "move it away, or remove it; a VM would have it in its way",
                                 vm->name, vm->directory);
        return 0;
}

int vm_plan(struct session *session, const char *name, struct vm *ret) {
        if (!text_is_label(name))
                return session_misused(session,
                                       "\"%s\" cannot be a VM's name: 1 to 63 letters, digits and hyphens, "
                                       "no hyphen at either end, for it is its name in DNS too",
                                       name);
        if (text_is_reserved_label(name))
                return session_misused(session,
                                       "\"%s\" cannot be a VM's name: in the DNS of networks it stands for "
                                       "something else",
                                       name);
        return fill(session, name, ret);
}

void vm_deinit(struct vm *vm) {
        free(vm->config);
        free(vm->name);
        free(vm->directory);
        *vm = (struct vm){ 0 };
}

char *vm_path(const struct vm *vm, const char *file) {
        return text_format("%s/%s", vm->directory, file);
}

static int compare(const void *a, const void *b) {
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A VM's directory by the files that only one has; it may lack its configuration when another program's
 * daemon made it. */
static bool is_vm(const char *config, const char *name) {
        static const char *const files[] = { VM_CONFIGURATION, VM_STATE, VM_CONTROL_SOCKET };

        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                _cleanup_free_ char *path = text_format("%s/vms/%s/%s", config, name, files[i]);

                if (path && access(path, F_OK) == 0)
                        return true;
        }
        return false;
}

static int collect(DIR *directory, const char *config, char ***names, size_t *n) {
        for (struct dirent *entry; (entry = readdir(directory));) {
                char **grown;

                /* A name that is none has a '.' in front: a VM that is being made, or removed. */
                if (!text_is_name(entry->d_name) || !is_vm(config, entry->d_name))
                        continue;
                grown = realloc(*names, (*n + 2) * sizeof(*grown));
                if (!grown)
                        return -ENOMEM;
                *names = grown;
                grown[*n] = strdup(entry->d_name);
                if (!grown[*n])
                        return -ENOMEM;
                grown[++*n] = NULL;
        }
        return 0;
}

int vm_names(const char *config, char ***ret, size_t *ret_n, struct error *error) {
        _cleanup_free_ char *path = text_format("%s/vms", config);
        _cleanup_(vm_names_freep) char **names = calloc(1, sizeof(*names));
        DIR *directory;
        size_t n = 0;
        int r = 0;

        if (!path || !names)
                return error_set(error, -ENOMEM, "out of memory");
        directory = opendir(path);
        if (!directory && errno != ENOENT)
                return error_errno(error, -errno, "cannot read %s", path);
        if (directory) {
                r = collect(directory, config, &names, &n);
                closedir(directory);
        }
        if (r < 0)
                return error_set(error, r, "out of memory");
        qsort(names, n, sizeof(*names), compare);
        *ret = steal_ptr(names);
        *ret_n = n;
        return 0;
}

void vm_names_free(char **names) {
        for (char **name = names; name && *name; name++)
                free(*name);
        free(names);
}

void vm_names_freep(char ***names) {
        vm_names_free(*names);
}
