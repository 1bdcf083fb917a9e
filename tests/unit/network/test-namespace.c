/* network/namespace: in child processes, for there is no way back */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "harness.h"
#include "network/links.h"
#include "network/namespace.h"

#define NOBODY 65534

/* Runs fn in a child, as nobody where asked and possible; its result is the exit status. */
static int in_child(int (*fn)(void), bool unprivileged) {
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                if (unprivileged && (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
                        _exit(98);
                /* As after an exec: /proc/self is the user's own. */
                prctl(PR_SET_DUMPABLE, 1);
                _exit(fn());
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

static bool same_file(int fd, const char *path) {
        struct stat a, b;

        return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

#define CHECK(condition)                                                                                     \
        do {                                                                                                 \
                if (!(condition)) {                                                                          \
                        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);              \
                        return 1;                                                                            \
                }                                                                                            \
        } while (0)

static int create_in_user_mode(void) {
        struct namespace namespace = NAMESPACE_INIT;
        _cleanup_fd_ int before = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        _cleanup_free_ char *map = NULL;
        struct error error = ERROR_INIT;
        char expected[64];
        size_t size;
        unsigned outside = getuid();
        struct links *links;

        int r = namespace_create(false, &namespace, &error);
        if (r < 0)
                fprintf(stderr, "%s\n", error_text(&error, r));
        CHECK(r == 0);
        CHECK(geteuid() == 0 && getegid() == 0);
        CHECK(file_read("/proc/self/uid_map", 1000, &map, &size, NULL) == 0);
        snprintf(expected, sizeof(expected), "%10u %10u %10u\n", 0, outside, 1);
        CHECK(strcmp(map, expected) == 0);
        CHECK(!same_file(before, "/proc/self/ns/net"));
        CHECK(same_file(namespace.network, "/proc/self/ns/net"));
        CHECK(same_file(namespace.user, "/proc/self/ns/user"));
        CHECK(fcntl(namespace.network, F_GETFD) == FD_CLOEXEC &&
              fcntl(namespace.user, F_GETFD) == FD_CLOEXEC);
        /* And it is ours to change. */
        CHECK(links_new(&links, NULL) == 0);
        CHECK(links_set_up(links, "lo", NULL) == 0);
        links_free(links);

        /* A successor comes in by the file descriptors. */
        pid_t pid = fork();
        if (pid == 0) {
                struct namespace again = NAMESPACE_INIT;
                struct namespace given = { .user = -1,
                                           .network = fcntl(namespace.network, F_DUPFD_CLOEXEC, 3) };
                _exit(namespace_enter(given, &again, NULL) == 0 &&
                                      same_file(again.network, "/proc/self/ns/net")
                              ? 0
                              : 1);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
        namespace_deinit(&namespace);
        CHECK(namespace.network == -1 && namespace.user == -1);
        namespace_deinit(&namespace);
        return 0;
}

/* Entered from outside, both: as the process that takes a network over does. */
static int enter_from_outside(void) {
        int pair[2];
        char byte = 0;

        if (fd_socketpair(pair, false) < 0)
                return 1;
        pid_t pid = fork();
        if (pid == 0) {
                struct namespace namespace = NAMESPACE_INIT;

                if (namespace_create(false, &namespace, NULL) < 0 || write(pair[1], "x", 1) != 1)
                        _exit(1);
                _exit(read(pair[1], &byte, 1) == 1 ? 0 : 1);
        }
        fd_close(pair[1]);
        CHECK(read(pair[0], &byte, 1) == 1);
        char path[64];
        struct namespace given, entered = NAMESPACE_INIT;
        snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
        given.user = open(path, O_RDONLY | O_CLOEXEC);
        snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
        given.network = open(path, O_RDONLY | O_CLOEXEC);
        CHECK(given.user >= 0 && given.network >= 0);
        CHECK(namespace_enter(given, &entered, NULL) == 0);
        CHECK(same_file(entered.user, "/proc/self/ns/user") &&
              same_file(entered.network, "/proc/self/ns/net"));
        CHECK(geteuid() == 0);
        CHECK(write(pair[0], "x", 1) == 1);
        CHECK(waitpid(pid, NULL, 0) == pid);
        namespace_deinit(&entered);
        return 0;
}

static int create_in_system_mode(void) {
        struct namespace namespace = NAMESPACE_INIT;
        _cleanup_fd_ int user = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);

        CHECK(namespace_create(true, &namespace, NULL) == 0);
        CHECK(namespace.user == -1);
        CHECK(same_file(user, "/proc/self/ns/user"));
        CHECK(same_file(namespace.network, "/proc/self/ns/net"));
        namespace_deinit(&namespace);
        return 0;
}

static int create_without_the_right_to(void) {
        struct namespace namespace = NAMESPACE_INIT;
        struct error error = ERROR_INIT;

        CHECK(namespace_create(true, &namespace, &error) == -EPERM);
        CHECK(*error.text && namespace.network == -1);
        return 0;
}

/* No fd is left of those that are no namespaces. */
static int enter_nonsense(void) {
        struct namespace namespace = NAMESPACE_INIT;
        struct error error = ERROR_INIT;
        size_t before = fd_count_open();
        struct namespace given = { .user = open("/dev/null", O_RDONLY | O_CLOEXEC),
                                   .network = open("/dev/null", O_RDONLY | O_CLOEXEC) };

        CHECK(namespace_enter(given, &namespace, &error) < 0);
        CHECK(fd_count_open() == before);
        CHECK(namespace.network == -1);
        return 0;
}

static void test_user_mode(void **state) {
        if (geteuid() == 0)
                assert_int_equal(in_child(create_in_user_mode, true), 0);
        assert_int_equal(in_child(create_in_user_mode, false), 0);
}

static void test_take_over(void **state) {
        assert_int_equal(in_child(enter_from_outside, geteuid() == 0), 0);
}

static void test_system_mode(void **state) {
        if (geteuid() != 0)
                skip();
        assert_int_equal(in_child(create_in_system_mode, false), 0);
        assert_int_equal(in_child(create_without_the_right_to, true), 0);
}

static void test_nonsense(void **state) {
        assert_int_equal(in_child(enter_nonsense, false), 0);
}

HARNESS_MAIN(cmocka_unit_test(test_user_mode), cmocka_unit_test(test_take_over),
             cmocka_unit_test(test_system_mode), cmocka_unit_test(test_nonsense))
