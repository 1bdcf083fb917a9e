/* File: a VM's config.json, see berth-vm(5). */
#include "cli/vm-file.h"

#include <errno.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/view.h"

#define SIZE_LIMIT (256 * 1024) /* bytes; vmhost takes no more either */
#define STOP_TIMEOUT_DEFAULT 30
#define STOP_TIMEOUT_MAX 86400

int vm_file_load(const struct vm *vm, json_t **ret, struct error *error) {
        _cleanup_free_ char *path = vm_path(vm, VM_CONFIGURATION), *text = NULL;
        json_error_t problem;
        json_t *file;
        size_t size;
        int r;

        if (!path)
                return error_set(error, -ENOMEM, "out of memory");
        r = file_read(path, SIZE_LIMIT, &text, &size, error);
        if (r < 0)
                return r;
        file = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
        if (!file)
                return error_set(error, -EINVAL, "%s:%d: %s", path, problem.line > 0 ? problem.line : 1,
                                 problem.text);
        if (!json_is_object(file)) {
                json_decref(file);
                return error_set(error, -EINVAL, "%s:1: the file must hold one JSON object", path);
        }
        *ret = file;
        return 0;
}

/* The defaults that berth-vm(5) gives, as JSON; NULL for what is absent when the file does not say it. */
static const struct {
        const char *key, *text;
} members[] = {
        { "memory_mib", "1024" },   { "cpus", "1" },
        { "machine", "\"q35\"" },   { "image", NULL },
        { "disk", NULL },           { "disk_format", "\"qcow2\"" },
        { "disk_size_gib", NULL },  { "kernel", NULL },
        { "initrd", NULL },         { "command_line", NULL },
        { "firmware", "\"auto\"" }, { "networks", "[]" },
        { "forwards", "[]" },       { "ssh", "true" },
        { "ssh_port", "0" },        { "ssh_user", NULL },
        { "ssh_keys", "[]" },       { "hostname", NULL },
        { "user_data", NULL },      { "shares", "[]" },
        { "restart", "\"no\"" },    { "stop_timeout_seconds", "30" },
        { "confine", "true" },      { "accelerator", "\"auto\"" },
        { "console_log_mib", "8" }, { "extra_arguments", "[]" },
};

json_t *vm_file_complete(const struct vm *vm, const json_t *file) {
        json_t *whole = json_object(), *value;
        const char *key;

        for (size_t i = 0; whole && i < ARRAY_SIZE(members); i++) {
                value = json_object_get(file, members[i].key);
                if (value)
                        json_object_set(whole, members[i].key, value);
                else if (members[i].text)
                        json_object_set_new(whole, members[i].key,
                                            json_loads(members[i].text, JSON_DECODE_ANY, NULL));
        }
        if (!whole)
                return NULL;
        if (!json_object_get(whole, "hostname") && text_is_label(vm->name))
                json_object_set_new(whole, "hostname", json_string(vm->name));
        if (!json_object_get(whole, "disk") && json_object_get(whole, "image"))
                json_object_set_new(whole, "disk", json_string(VM_DISK));
        if (!json_object_get(whole, "command_line") && json_object_get(whole, "kernel"))
                json_object_set_new(whole, "command_line", json_string("console=ttyS0"));
        if (json_is_false(json_object_get(whole, "ssh")))
                json_object_del(whole, "ssh_port");
        /* What vmhost will complain about is shown too. */
        json_object_foreach((json_t *)file, key, value)
                if (!json_object_get(whole, key))
                        json_object_set(whole, key, value);
        return whole;
}

unsigned vm_file_stop_timeout(const struct vm *vm) {
        json_auto_t *file = NULL;
        int64_t seconds;

        if (vm_file_load(vm, &file, NULL) < 0)
                return STOP_TIMEOUT_DEFAULT;
        seconds = view_integer(file, "stop_timeout_seconds");
        return seconds > 0 && seconds <= STOP_TIMEOUT_MAX ? (unsigned)seconds : STOP_TIMEOUT_DEFAULT;
}
