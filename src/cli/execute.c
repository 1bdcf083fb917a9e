/* Execute: becomes another program, and tells apart why it could not. */
#include "cli/execute.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/process.h"

static enum status status_of(int code) {
        return code == -ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE;
}

enum status execute_find(const char *program, char **ret, struct error *error) {
        struct stat st;
        int r = 0;

        if (!strchr(program, '/')) {
                *ret = process_find_program(program, NULL);
                if (*ret)
                        return STATUS_OK;
                error_set(error, -ENOENT, "%s: no such program in PATH", program);
                return STATUS_NOT_FOUND;
        }
        if (stat(program, &st) < 0 || access(program, X_OK) < 0)
                r = -errno;
        else if (S_ISDIR(st.st_mode))
                r = -EISDIR;
        if (r < 0) {
                error_errno(error, r, "cannot run %s", program);
                return status_of(r);
        }
        *ret = strdup(program);
        if (*ret)
                return STATUS_OK;
        error_set(error, -ENOMEM, "out of memory");
        return STATUS_NOT_RUN;
}

enum status execute(const char *path, char **argv, struct error *error) {
        int r;

        fflush(NULL);
        /* With a path it searches nothing, but runs a script without #! as the shell does. */
        execvp(path, argv);
        r = error_errno(error, -errno, "cannot run %s", path);
        return status_of(r);
}

int execute_complain(enum status status, const struct error *error) {
        fprintf(stderr, "berth: %s\n", error_text(error, error->code));
        return status;
}
