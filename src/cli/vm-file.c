/* File: a VM's config.json, see berth-vm(5). */
#include "cli/vm-file.h"

#include <errno.h>

#include "base/file.h"
#include "base/memory.h"
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

unsigned vm_file_stop_timeout(const struct vm *vm) {
        json_auto_t *file = NULL;
        int64_t seconds;

        if (vm_file_load(vm, &file, NULL) < 0)
                return STOP_TIMEOUT_DEFAULT;
        seconds = view_integer(file, "stop_timeout_seconds");
        return seconds > 0 && seconds <= STOP_TIMEOUT_MAX ? (unsigned)seconds : STOP_TIMEOUT_DEFAULT;
}
