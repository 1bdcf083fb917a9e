#include "vmhost/space.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

struct space {
        struct source *timer;
        bool waiting;
        uint64_t pause; /* microseconds: of this wait, or the next */
        uint64_t tried; /* loop_now of the last attempt; 0: none yet */
        char *path;
        space_fn fn;
        void *data;
};

/* Whether there is room, with the bytes that are free for us; or -errno, -ENOTBLK where the path is a block
 * device, whose file system is not what it holds. */
static int has_room(const char *path, uint64_t *ret_free) {
        struct statvfs vfs;
        struct stat status;

        if (stat(path, &status) < 0 || statvfs(path, &vfs) < 0)
                return -errno;
        if (S_ISBLK(status.st_mode))
                return -ENOTBLK;
        uint64_t fiftieth = (uint64_t)vfs.f_blocks * vfs.f_frsize / 50;
        *ret_free = (uint64_t)vfs.f_bavail * vfs.f_frsize;
        return *ret_free >= (fiftieth < SPACE_ENOUGH ? fiftieth : SPACE_ENOUGH);
}

static int on_timer(struct source *source, void *data) {
        struct space *space = data;
        uint64_t available;

        if (has_room(space->path, &available) == 0) {
                space->pause = SPACE_PAUSE_MIN;
                source_arm(space->timer, space->pause);
                return 0;
        }
        space->waiting = false;
        space->tried = loop_now();
        /* Here and not in space_wait: news of before the attempt may arrive behind it. */
        space->pause = space->pause < SPACE_PAUSE_MAX / 2 ? 2 * space->pause : SPACE_PAUSE_MAX;
        space->fn(space->data);
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
        if (space->waiting)
                return;
        space->waiting = true;
        if (!space->tried || loop_now() - space->tried > SPACE_PAUSE_MAX)
                space->pause = SPACE_PAUSE_MIN;
        source_arm(space->timer, space->pause);
}

void space_stop_waiting(struct space *space) {
        space->waiting = false;
        source_disarm(space->timer);
}

char *space_describe(const struct space *space, char *buffer, size_t size) {
        uint64_t available;
        unsigned seconds = (unsigned)((space->pause + 999999) / 1000000);
        int r = has_room(space->path, &available);

        if (r == 0)
                snprintf(buffer, size,
                         "the disk is full (%llu MiB free on the file system of %s): it goes on when there "
                         "is room",
                         (unsigned long long)(available >> 20), space->path);
        else if (r > 0)
                snprintf(buffer, size,
                         "a disk is full, though the file system of %s has room: tried again after %u s",
                         space->path, seconds);
        else
                snprintf(buffer, size, "a disk is full: tried again after %u s", seconds);
        return buffer;
}
