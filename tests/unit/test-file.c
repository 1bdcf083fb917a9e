/* base/file */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

static char *directory; /* of the test that runs */

static int setup(void **state) {
        directory = harness_make_directory();
        return 0;
}

static int teardown(void **state) {
        harness_remove_directory(directory);
        return 0;
}

/* A path below the test's directory; up to eight live at a time. */
static const char *at(const char *name) {
        static char paths[8][512];
        static unsigned next;
        char *path = paths[next++ % 8];

        snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
        return path;
}

static size_t count_entries(const char *path) {
        DIR *d = opendir(path);
        size_t n = 0;

        assert_non_null(d);
        while (readdir(d))
                n++;
        closedir(d);
        return n - 2;
}

static void test_read(void **state) {
        struct error error = ERROR_INIT;
        _cleanup_free_ char *data = NULL, *large = calloc(1, 20000), *proc = NULL;
        size_t size;

        assert_int_equal(file_read(at("none"), 10, &data, &size, &error), -ENOENT);
        assert_non_null(strstr(error.text, at("none")));

        assert_int_equal(file_write(at("f"), "a\0b", 3, 0600, false, NULL), 0);
        assert_int_equal(file_read(at("f"), 2, &data, &size, &error), -EFBIG);
        assert_null(data);
        assert_int_equal(file_read(at("f"), 3, &data, &size, NULL), 0);
        assert_int_equal(size, 3);
        assert_memory_equal(data, "a\0b\0", 4);
        free(steal_ptr(data));

        assert_int_equal(file_write(at("f"), "", 0, 0600, false, NULL), 0);
        assert_int_equal(file_read(at("f"), 0, &data, &size, NULL), 0);
        assert_int_equal(size, 0);
        free(steal_ptr(data));

        memset(large, 'x', 20000);
        assert_int_equal(file_write(at("f"), large, 20000, 0600, false, NULL), 0);
        assert_int_equal(file_read(at("f"), 19999, &data, &size, NULL), -EFBIG);
        assert_int_equal(file_read(at("f"), 20000, &data, &size, NULL), 0);
        assert_int_equal(size, 20000);
        assert_memory_equal(data, large, 20000);

        /* A file of /proc says that its size is 0. */
        assert_int_equal(file_read("/proc/self/status", 65536, &proc, &size, NULL), 0);
        assert_true(size > 100);
        assert_int_equal(file_read(directory, 10, &data, &size, NULL), -EISDIR);
}

static void test_write(void **state) {
        mode_t mask = umask(0077);
        struct error error = ERROR_INIT;
        struct stat st;

        assert_int_equal(file_write(at("f"), "one", 3, 0644, false, NULL), 0);
        assert_int_equal(stat(at("f"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0644);
        assert_int_equal(file_write(at("f"), "two", 3, 0600, true, NULL), 0);
        assert_int_equal(stat(at("f"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(count_entries(directory), 1);

        assert_int_equal(file_write(at("none/f"), "x", 1, 0600, false, &error), -ENOENT);
        /* Where the rename fails, nothing is left beside. */
        assert_int_equal(mkdir(at("d"), 0700), 0);
        assert_true(file_write(at("d"), "x", 1, 0600, false, &error) < 0);
        assert_int_equal(count_entries(directory), 2);
        umask(mask);
}

/* A reader that never rests sees one whole version or another, and a hidden name besides at most. */
static void test_write_is_atomic(void **state) {
        _cleanup_free_ char *a = malloc(50000), *b = malloc(70000);
        pid_t pid;

        memset(a, 'a', 50000);
        memset(b, 'b', 70000);
        assert_int_equal(file_write(at("f"), a, 50000, 0600, false, NULL), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                for (int i = 0; i < 300; i++)
                        if (file_write(at("f"), i % 2 ? a : b, i % 2 ? 50000 : 70000, 0600, false, NULL) < 0)
                                _exit(1);
                _exit(0);
        }
        for (int status;;) {
                _cleanup_free_ char *data = NULL;
                size_t size;

                assert_int_equal(file_read(at("f"), 100000, &data, &size, NULL), 0);
                if (data[0] == 'a')
                        assert_true(size == 50000 && memcmp(data, a, size) == 0);
                else
                        assert_true(size == 70000 && memcmp(data, b, size) == 0);
                if (waitpid(pid, &status, WNOHANG) == pid) {
                        assert_int_equal(status, 0);
                        break;
                }
        }
}

static void test_write_in_place(void **state) {
        _cleanup_free_ char *data = NULL;
        struct error error = ERROR_INIT;
        size_t size;
        struct stat before, after;

        assert_int_equal(file_write_in_place(at("f"), "x", &error), -ENOENT);
        assert_int_equal(file_write(at("f"), "longer", 6, 0600, false, NULL), 0);
        assert_int_equal(stat(at("f"), &before), 0);
        assert_int_equal(file_write_in_place(at("f"), "new", NULL), 0);
        assert_int_equal(stat(at("f"), &after), 0);
        assert_true(before.st_ino == after.st_ino);
        assert_int_equal(file_read(at("f"), 10, &data, &size, NULL), 0);
        assert_string_equal(data, "new");
        /* The kernel's refusal comes back with what was refused. */
        assert_int_equal(file_write_in_place("/proc/self/oom_score_adj", "nonsense", &error), -EINVAL);
        assert_non_null(strstr(error.text, "nonsense"));
}

static void test_make_directory(void **state) {
        mode_t mask = umask(0022);
        struct error error = ERROR_INIT;
        struct stat st;

        assert_int_equal(file_make_directory(at("a/b/c"), 0700, NULL), 0);
        assert_int_equal(stat(at("a"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0755);
        assert_int_equal(stat(at("a/b/c"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0700);
        umask(0077);
        assert_int_equal(file_make_directory(at("open/"), 0755, NULL), 0);
        assert_int_equal(stat(at("open"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0755);
        umask(mask);

        assert_int_equal(file_make_directory(at("a/b/c"), 0755, NULL), 0);
        assert_int_equal(stat(at("a/b/c"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0700);
        assert_int_equal(file_write(at("f"), "", 0, 0600, false, NULL), 0);
        assert_int_equal(file_make_directory(at("f"), 0700, &error), -ENOTDIR);
        assert_int_equal(file_make_directory(at("f/g"), 0700, &error), -ENOTDIR);
        assert_int_equal(file_make_directory("", 0700, &error), -ENOENT);
        assert_int_equal(file_make_directory("/", 0700, &error), 0);
}

static void test_remove_tree(void **state) {
        int fd;

        assert_int_equal(file_remove_tree(at("none"), NULL), 0);
        assert_int_equal(file_write(at("f"), "", 0, 0600, false, NULL), 0);
        assert_int_equal(file_remove_tree(at("f"), NULL), 0);

        assert_int_equal(file_make_directory(at("t/a/b/c"), 0700, NULL), 0);
        assert_int_equal(file_write(at("t/a/f"), "", 0, 0600, false, NULL), 0);
        assert_int_equal(mkfifo(at("t/a/fifo"), 0600), 0);
        fd = fd_listen_unix(at("t/a/s.sock"), 0600);
        fd_close(fd);
        assert_int_equal(file_remove_tree(at("t"), NULL), 0);
        assert_int_equal(count_entries(directory), 0);
}

/* What links point to stays: a link within the tree, to a directory and to a file, and a link that is the
 * tree. */
static void test_remove_tree_follows_no_link(void **state) {
        assert_int_equal(file_make_directory(at("keep/inner"), 0700, NULL), 0);
        assert_int_equal(file_write(at("keep/f"), "x", 1, 0600, false, NULL), 0);
        assert_int_equal(file_make_directory(at("t/a"), 0700, NULL), 0);
        assert_int_equal(symlink(at("keep"), at("t/a/d")), 0);
        assert_int_equal(symlink(at("keep/f"), at("t/f")), 0);
        assert_int_equal(file_remove_tree(at("t"), NULL), 0);
        assert_int_equal(symlink(at("keep"), at("link")), 0);
        assert_int_equal(file_remove_tree(at("link"), NULL), 0);
        assert_int_equal(access(at("link"), F_OK), -1);
        assert_int_equal(access(at("keep/f"), F_OK), 0);
        assert_int_equal(access(at("keep/inner"), F_OK), 0);
}

/* In a mount namespace of its own, for a mount point in the tree. Returns the exit code. */
static int remove_across_mount(void) {
        struct error error = ERROR_INIT;

        if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return 77;
        /* A bind mount has the same device number on both sides: the harder case. */
        if (mount(at("keep"), at("t/m"), NULL, MS_BIND, NULL) < 0)
                return 77;
        return file_remove_tree(at("t"), &error) == -EBUSY && access(at("keep/f"), F_OK) == 0 &&
                               access(at("t/other"), F_OK) < 0
                       ? 0
                       : 1;
}

static void test_remove_tree_stays_on_mount(void **state) {
        int status;
        pid_t pid;

        assert_int_equal(file_make_directory(at("keep"), 0700, NULL), 0);
        assert_int_equal(file_write(at("keep/f"), "x", 1, 0600, false, NULL), 0);
        assert_int_equal(file_make_directory(at("t/m"), 0700, NULL), 0);
        assert_int_equal(file_make_directory(at("t/other/x"), 0700, NULL), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                _exit(remove_across_mount());
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
                skip();
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_lock(void **state) {
        struct error error = ERROR_INIT;
        struct stat st;
        int fd, copy;

        fd = file_lock(at("l"), false, NULL);
        assert_true(fd >= 0);
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
        assert_int_equal(stat(at("l"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(file_lock(at("l"), false, &error), -EWOULDBLOCK);
        copy = fd_dup(fd);
        fd_close(fd);
        assert_int_equal(file_lock(at("l"), false, &error), -EWOULDBLOCK);
        fd_close(copy);
        fd = file_lock(at("l"), false, NULL);
        assert_true(fd >= 0);

        /* A removed file's lock excludes nobody from the new one. */
        assert_int_equal(unlink(at("l")), 0);
        copy = file_lock(at("l"), false, NULL);
        assert_true(copy >= 0);
        fd_close(copy);
        fd_close(fd);
        assert_int_equal(file_lock(at("none/l"), false, &error), -ENOENT);
}

/* Several processes count up a number in a file under the lock, and the holder removes the lock file each
 * time: none of the steps may get lost. */
static void test_lock_waits(void **state) {
        pid_t pids[4];
        _cleanup_free_ char *data = NULL;
        size_t size;

        assert_int_equal(file_write(at("n"), "0", 1, 0600, false, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
                pids[i] = fork();
                assert_true(pids[i] >= 0);
                if (pids[i] > 0)
                        continue;
                for (int k = 0; k < 50; k++) {
                        _cleanup_fd_ int fd = file_lock(at("l"), true, NULL);
                        _cleanup_free_ char *text = NULL, *next = NULL;

                        if (fd < 0 || file_read(at("n"), 20, &text, &size, NULL) < 0)
                                _exit(1);
                        next = text_format("%d", atoi(text) + 1);
                        sched_yield();
                        if (file_write_in_place(at("n"), next, NULL) < 0 || unlink(at("l")) < 0)
                                _exit(1);
                }
                _exit(0);
        }
        for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
                int status;

                assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
                assert_int_equal(status, 0);
        }
        assert_int_equal(file_read(at("n"), 20, &data, &size, NULL), 0);
        assert_string_equal(data, "200");
}

static void test_last_line(void **state) {
        static const struct {
                const char *text, *line;
        } cases[] = {
                { "", "" },
                { "\n\n", "" },
                { "one", "one" },
                { "one\ntwo\n\n", "two" },
                { "a\tb\x1b", "a b " },
                { "12345678", "1234567" },
                { "12345678\nab", "ab" },
                { "123\xc3\xa9", "123\xc3\xa9" },
                { "123456\xc3\xa9", "123456?" }, /* cut within the character */
                { "a\xff\xc3", "a??" },
                { "a\xc2\x9b\xc2\xa0", "a  \xc2\xa0" }, /* CSI, of which a terminal makes as much as of ESC [ */
        };
        char line[8], large[10000];

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(file_write(at("log"), cases[i].text, strlen(cases[i].text), 0600, false, NULL), 0);
                _cleanup_fd_ int fd = open(at("log"), O_RDONLY | O_CLOEXEC);
                file_last_line(fd, line, sizeof(line));
                assert_string_equal(line, cases[i].line);
        }
        memset(large, 'x', sizeof(large));
        memcpy(large + sizeof(large) - 4, "\nend", 4);
        assert_int_equal(file_write(at("log"), large, sizeof(large), 0600, false, NULL), 0);
        _cleanup_fd_ int fd = open(at("log"), O_RDONLY | O_CLOEXEC);
        file_last_line(fd, line, sizeof(line));
        assert_string_equal(line, "end");
        file_last_line(-1, line, sizeof(line));
        assert_string_equal(line, "");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

HARNESS_MAIN(TEST(test_read), TEST(test_last_line), TEST(test_write), TEST(test_write_is_atomic), TEST(test_write_in_place),
             TEST(test_make_directory), TEST(test_remove_tree), TEST(test_remove_tree_follows_no_link),
             TEST(test_remove_tree_stays_on_mount), TEST(test_lock), TEST(test_lock_waits))
