#include "broker/definitions.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "broker/message.h"

#define SUFFIX ".json"
#define BUILT_IN "built in"

int definitions_find(const char *directory, const char *name, struct definition **ret, struct error *error) {
        enum definition_mode mode;
        _cleanup_free_ char *text = NULL, *path = NULL;
        size_t size;
        int r;

        if (!text_is_name(name))
                return -ENOENT;
        path = text_format("%s/%s" SUFFIX, directory, name);
        if (!path)
                return -ENOMEM;

        r = file_read(path, DEFINITION_FILE_MAX, &text, &size, error);
        if (r == 0)
                return definition_parse(name, path, text, size, ret, error);
        if (r == -EFBIG)
                return error_set(error, r, "%s:1: the file is larger than %d KiB", path,
                                 DEFINITION_FILE_MAX / 1024);
        if (r != -ENOENT && r != -ENOTDIR)
                return error_set(error, r, "%s:1: cannot read the file: %s", path, strerror(-r));

        r = definition_built_in(name, &mode);
        if (r < 0)
                return r;
        *ret = definition_new(name, BUILT_IN, mode);
        return *ret ? 0 : -ENOMEM;
}

static const char *description(const struct definition *definition) {
        if (definition->description)
                return definition->description;
        return text_equal(definition->source, BUILT_IN) ? definition_built_in_description(definition->mode)
                                                        : "";
}

/* One entry of the list; nothing where nobody defines the name. */
static int list_one(const char *directory, const char *name, json_t *list) {
        _cleanup_(definition_freep) struct definition *definition = NULL;
        struct error error = ERROR_INIT;
        json_t *entry;

        int r = definitions_find(directory, name, &definition, &error);
        if (r == -ENOENT)
                return 0;
        if (r == 0) {
                entry = json_pack("{ss ss so ss}", "name", name, "mode",
                                  definition_mode_name(definition->mode), "source",
                                  message_json(definition->source), "description", description(definition));
        } else {
                _cleanup_free_ char *path = text_format("%s/%s" SUFFIX, directory, name);

                entry = json_pack("{ss so so}", "name", name, "source", message_json(path ?: "?"), "error",
                                  message_json(error_text(&error, r)));
        }
        return json_array_append_new(list, entry);
}

/* The name that a file of the directory defines: a new string; NULL where it defines none. */
static char *defined_name(const char *file) {
        size_t length = strlen(file), suffix = strlen(SUFFIX);

        if (length <= suffix || !text_equal(file + length - suffix, SUFFIX))
                return NULL;

        _cleanup_free_ char *name = strndup(file, length - suffix);
        if (!name || !text_is_name(name))
                return NULL;
        return steal_ptr(name);
}

json_t *definitions_list(const char *directory, const char *name) {
        json_t *list = json_array();
        struct dirent **entries = NULL;
        enum definition_mode mode;
        int n = 0;

        if (!list || (name && list_one(directory, name, list) < 0)) {
                json_decref(list);
                return NULL;
        }
        if (name)
                return list;

        for (mode = MODE_SHARED; mode <= MODE_HOST; mode++)
                list_one(directory, definition_mode_name(mode), list);
        n = scandir(directory, &entries, NULL, alphasort);
        if (n < 0 && errno != ENOENT)
                log_warning("cannot read %s: %s", directory, strerror(errno));
        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *defined = defined_name(entries[i]->d_name);

                if (defined && definition_built_in(defined, &mode) < 0)
                        list_one(directory, defined, list);
                free(entries[i]);
        }
        free(entries);
        return list;
}
