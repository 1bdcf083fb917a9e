/* Orphans: networks that go on although their broker has ended. */
#include "cli/orphans.h"

#include <glob.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

/* Of DIRECTORY/networks/NAME/control.sock: where NAME begins, and its length. */
static const char *find_name(const char *path, int *ret_length) {
        const char *end = strrchr(path, '/'), *name = end;

        while (name > path && name[-1] != '/')
                name--;
        *ret_length = (int)(end - name);
        return name;
}

char *orphans_list(const char *broker_socket) {
        const char *slash = broker_socket ? strrchr(broker_socket, '/') : NULL;
        _cleanup_free_ char *pattern = NULL;
        char *names = strdup("");
        glob_t found;

        if (!slash || !names)
                return names;
        pattern = text_format("%.*s/networks/*/control.sock", (int)(slash - broker_socket), broker_socket);
        if (!pattern || glob(pattern, 0, NULL, &found) != 0)
                return names;
        for (size_t i = 0; names && i < found.gl_pathc; i++) {
                int length;
                const char *name = find_name(found.gl_pathv[i], &length);
                char *longer = text_format("%s%s%.*s", names, i > 0 ? ", " : "", length, name);

                free(names);
                names = longer;
        }
        globfree(&found);
        return names;
}
