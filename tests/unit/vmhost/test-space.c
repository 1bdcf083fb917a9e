/* vmhost/space: what is waited for when a disk is full. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "loop/loop.h"
#include "vmhost/space.h"

struct world {
        char *directory; /* a file system of its own that is full */
        char *filler, *disk;
        struct loop *loop;
        struct space *space;
};

static void on_space(void *data) {
        struct world *world = data;

        loop_exit(world->loop, 0);
}

/* False where this machine cannot. The mounts are this process's own from the first on. */
static bool setup(struct world *world) {
        static bool apart;
        static const char zeros[4096];

        *world = (struct world){ .directory = harness_make_directory() };
        if (!apart && (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)) {
                harness_remove_directory(world->directory);
                return false;
        }
        apart = true;
        assert_int_equal(mount("none", world->directory, "tmpfs", 0, "size=1m"), 0);
        world->filler = text_format("%s/filler", world->directory);
        world->disk = text_format("%s/disk", world->directory);
        _cleanup_fd_ int fd = open(world->filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        while (write(fd, zeros, sizeof(zeros)) > 0)
                continue;
        assert_int_equal(errno, ENOSPC);
        assert_int_equal(loop_new(&world->loop), 0);
        return true;
}

static void teardown(struct world *world) {
        space_free(world->space);
        loop_free(world->loop);
        umount2(world->directory, MNT_DETACH);
        free(world->filler);
        free(world->disk);
        harness_remove_directory(world->directory);
}

/* A file's is the file system's, which is waited for. */
static void test_file(void **state) {
        struct world world;
        _cleanup_free_ char *expected = NULL;
        char text[512];

        if (!setup(&world))
                skip();
        fd_close(open(world.disk, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        expected = text_format(
                "the disk is full (0 MiB free on the file system of %s): it goes on when there is room",
                world.disk);
        assert_int_equal(space_new(&world.space, world.loop, world.disk, on_space, &world), 0);
        space_wait(world.space);
        assert_string_equal(space_describe(world.space, text, sizeof(text)), expected);
        assert_int_equal(unlink(world.filler), 0);
        assert_int_equal(loop_run(world.loop), 0);
        teardown(&world);
}

/* Of a block device nothing is known, whatever the file system has that its name is on: going on is tried
 * again and again, each time after twice as long. */
static void test_block_device(void **state) {
        static const unsigned seconds[] = { 1, 1, 2 };
        struct world world;
        char text[512];

        if (!setup(&world))
                skip();
        if (mknod(world.disk, S_IFBLK | 0600, makedev(7, 1000)) < 0) {
                teardown(&world);
                skip();
        }
        assert_int_equal(space_new(&world.space, world.loop, world.disk, on_space, &world), 0);
        for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
                _cleanup_free_ char *expected = text_format("a disk is full: tried again after %u s",
                                                            seconds[i]);

                space_wait(world.space);
                assert_string_equal(space_describe(world.space, text, sizeof(text)), expected);
                if (i + 1 < ARRAY_SIZE(seconds))
                        assert_int_equal(loop_run(world.loop), 0);
        }
        space_stop_waiting(world.space);
        teardown(&world);
}

HARNESS_MAIN(cmocka_unit_test(test_file), cmocka_unit_test(test_block_device))
