/* base/fd */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"

static void test_close_keeps_errno(void **state) {
        errno = ENOTTY;
        assert_int_equal(fd_close(-1), -1);
        assert_int_equal(fd_close(99999), -1);
        assert_int_equal(errno, ENOTTY);
}

static void test_cleanup_and_steal(void **state) {
        size_t before = fd_count_open();
        int stolen;

        {
                _cleanup_fd_ int a = open("/dev/null", O_RDONLY | O_CLOEXEC);
                _cleanup_fd_ int b = open("/dev/null", O_RDONLY | O_CLOEXEC);

                assert_int_equal(fd_count_open(), before + 2);
                stolen = steal_fd(&b);
                assert_int_equal(b, -1);
                assert_true(a >= 0);
        }
        assert_int_equal(fd_count_open(), before + 1);
        fd_close(stolen);
        assert_int_equal(fd_count_open(), before);
}

static void test_flags(void **state) {
        _cleanup_fd_ int fd = open("/dev/null", O_RDONLY), copy = -1;

        assert_int_equal(fd_set_nonblock(fd, true), 0);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_int_equal(fd_set_nonblock(fd, false), 0);
        assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_int_equal(fd_set_cloexec(fd, true), 0);
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
        assert_int_equal(fd_set_cloexec(fd, false), 0);
        assert_int_equal(fcntl(fd, F_GETFD), 0);
        copy = fd_dup(fd);
        assert_true(copy >= 3);
        assert_int_equal(fcntl(copy, F_GETFD), FD_CLOEXEC);
        assert_int_equal(fd_dup(-1), -EBADF);
        assert_int_equal(fd_set_nonblock(-1, true), -EBADF);
        assert_int_equal(fd_set_cloexec(-1, true), -EBADF);
}

static void test_socketpair(void **state) {
        for (int nonblock = 0; nonblock < 2; nonblock++) {
                int pair[2];

                assert_int_equal(fd_socketpair(pair, nonblock), 0);
                for (int i = 0; i < 2; i++) {
                        assert_int_equal(fcntl(pair[i], F_GETFD), FD_CLOEXEC);
                        assert_int_equal(!!(fcntl(pair[i], F_GETFL) & O_NONBLOCK), nonblock);
                }
                assert_int_equal(write(pair[0], "x", 1), 1);
                fd_close(pair[0]);
                fd_close(pair[1]);
        }
}

/* The kernel takes ten bytes of twenty at once, and says only at the next write why. */
static void test_write_all(void **state) {
        _cleanup_fd_ int fd = memfd_create("written", MFD_CLOEXEC);
        struct rlimit before, limit;
        char back[20];

        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, "ten bytes.", 10), 0);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);

        assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
        limit = (struct rlimit){ .rlim_cur = 10, .rlim_max = before.rlim_max };
        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        int r = fd_write_all(fd, "ten bytes.ten bytes.", 20);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        signal(SIGXFSZ, SIG_DFL);
        assert_int_equal(r, -EFBIG);
        assert_int_equal(pread(fd, back, sizeof(back), 0), 10);
        assert_int_equal(fd_write_all(-1, "x", 1), -EBADF);
}

/* Listens at the path, connects, and sends a byte through. */
static void check_path(const char *path) {
        _cleanup_fd_ int listener = -1, client = -1, server = -1;
        struct stat st;
        char c;

        listener = fd_listen_unix(path, 0660);
        assert_true(listener >= 0);
        assert_int_equal(fcntl(listener, F_GETFD), FD_CLOEXEC);
        assert_true(fcntl(listener, F_GETFL) & O_NONBLOCK);
        assert_int_equal(lstat(path, &st), 0);
        assert_true(S_ISSOCK(st.st_mode));
        assert_int_equal(st.st_mode & 0777, 0660);
        assert_int_equal(fd_listen_unix(path, 0600), -EADDRINUSE);

        client = fd_connect_unix(path);
        assert_true(client >= 0);
        assert_int_equal(fcntl(client, F_GETFD), FD_CLOEXEC);
        assert_false(fcntl(client, F_GETFL) & O_NONBLOCK);
        server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(server >= 0);
        assert_int_equal(write(client, "x", 1), 1);
        assert_int_equal(read(server, &c, 1), 1);
}

static void test_unix_paths(void **state) {
        char *directory = harness_make_directory();
        _cleanup_free_ char *deep = NULL, *path = NULL, *renamed = NULL;
        char name[201];
        mode_t mask = umask(0077); /* the mode is what was asked for all the same */
        int fd;

        memset(name, 'd', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        deep = text_format("%s/%s", directory, name);
        assert_int_equal(mkdir(deep, 0700), 0);

        path = text_format("%s/s.sock", directory);
        check_path(path);
        free(path);
        path = text_format("%s/s.sock", deep);
        assert_true(strlen(path) > 108);
        check_path(path);

        /* Where nobody listens any more, and where nothing is. */
        assert_int_equal(fd_connect_unix(path), -ECONNREFUSED);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(fd_connect_unix(path), -ENOENT);
        assert_int_equal(fd_listen_unix("", 0600), -EINVAL);
        assert_int_equal(fd_listen_unix("/nonexistent/x", 0600), -ENOENT);

        /* A last component too long for sun_path can be connected to. */
        fd = fd_listen_unix(path, 0600);
        assert_true(fd >= 0);
        renamed = text_format("%s/%s", deep, name);
        assert_int_equal(rename(path, renamed), 0);
        fd_close(fd_connect_unix(renamed));
        assert_int_equal(unlink(renamed), 0);
        assert_int_equal(fd_listen_unix(renamed, 0600), -ENAMETOOLONG);
        fd_close(fd);

        umask(mask);
        harness_remove_directory(directory);
}

HARNESS_MAIN(cmocka_unit_test(test_close_keeps_errno), cmocka_unit_test(test_cleanup_and_steal),
             cmocka_unit_test(test_flags), cmocka_unit_test(test_socketpair),
             cmocka_unit_test(test_write_all), cmocka_unit_test(test_unix_paths))
