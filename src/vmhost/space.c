#include "vmhost/space.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define INTERVAL 500000U /* microseconds */

struct space {
        struct source *timer;
        char *path;
        space_fn fn;
        void *data;
};

/* Bytes that are free for us, and those that are enough: 0 or -errno. */
static int measure(const char *path, uint64_t *ret_free, uint64_t *ret_enough) {
        struct statvfs vfs;

        if (statvfs(path, &vfs) < 0)
                return -errno;
        uint64_t fiftieth = (uint64_t)vfs.f_blocks * vfs.f_frsize / 50;
        *ret_free = (uint64_t)vfs.f_bavail * vfs.f_frsize;
        *ret_enough = fiftieth < SPACE_ENOUGH ? fiftieth : SPACE_ENOUGH;
        return 0;
}

static int on_timer(struct source *source, void *data) {
        struct space *space = data;
        uint64_t available = 0, enough = 0;

        if (measure(space->path, &available, &enough) == 0 && available >= enough)
                space->fn(space->data);
        else
                source_arm(space->timer, INTERVAL);
        return 0;
}

int space_new(struct space **ret, struct loop *loop, const char *path, space_fn fn, void *data) {
        struct space *space = calloc(1, sizeof(*space));
        int r;

        if (!space)
                return -ENOMEM;
        space->fn = fn;
        space->data = data;
        space->path = strdup(path);
        r = space->path ? loop_add_timer(loop, &space->timer, on_timer, space) : -ENOMEM;
        if (r < 0) {
                space_free(space);
                return r;
        }
        *ret = space;
        return 0;
}

struct space *space_free(struct space *space) {
        if (!space)
                return NULL;
        source_free(space->timer);
        free(space->path);
        free(space);
        return NULL;
}

void space_wait(struct space *space) {
        source_arm(space->timer, INTERVAL);
}

void space_stop_waiting(struct space *space) {
        source_disarm(space->timer);
}

char *space_describe(const struct space *space, char *buffer, size_t size) {
        uint64_t available = 0, enough = 0;

        if (measure(space->path, &available, &enough) < 0)
                snprintf(buffer, size, "%s cannot be looked at", space->path);
        else
                snprintf(buffer, size, "%llu MiB free on the file system of %s",
                         (unsigned long long)(available >> 20), space->path);
        return buffer;
}
