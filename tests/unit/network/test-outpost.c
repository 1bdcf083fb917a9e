/* network/outpost */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/process.h"
#include "network/outpost.h"
#include "world.h"

#include <linux/sockios.h>

static ino_t namespace_of_socket(int socket_fd) {
        struct stat st;
        _cleanup_fd_ int fd = ioctl(socket_fd, SIOCGSKNS);

        assert_true(fd >= 0);
        assert_int_equal(fstat(fd, &st), 0);
        return st.st_ino;
}

static ino_t own_namespace(void) {
        struct stat st;

        assert_int_equal(stat("/proc/self/ns/net", &st), 0);
        return st.st_ino;
}

static struct outpost *make(void) {
        struct outpost *outpost = NULL;
        struct error error = ERROR_INIT;

        assert_int_equal(outpost_new(&outpost, &error), 0);
        return outpost;
}

/* The sockets are of the namespace that the process has left. */
static void test_sockets(void **state) {
        world_enter();
        ino_t host = own_namespace();
        struct outpost *outpost = make();

        world_enter();
        assert_int_not_equal(own_namespace(), host);
        for (int i = 0; i < 20; i++) {
                _cleanup_fd_ int fd = outpost_socket(outpost, AF_INET, i % 2 ? SOCK_STREAM : SOCK_DGRAM, 0);
                assert_true(fd >= 0);
                assert_int_equal(namespace_of_socket(fd), host);
                assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
                assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        }
        assert_int_equal(outpost_socket(outpost, AF_INET, 77, 0), -EINVAL);
        assert_int_equal(outpost_socket(outpost, 4711, SOCK_STREAM, 0), -EAFNOSUPPORT);
        outpost_free(outpost);
}

static void read_all(int fd, char *buffer, size_t size) {
        size_t used = 0;
        ssize_t n;

        while ((n = read(fd, buffer + used, size - 1 - used)) > 0)
                used += (size_t)n;
        buffer[used] = 0;
}

/* Waits for the end of a process that is no child of ours. */
static void expect_end(int pidfd) {
        struct pollfd p = { .fd = pidfd, .events = POLLIN };

        assert_int_equal(poll(&p, 1, 60000), 1);
}

static void make_pipe(int ret[static 2]) {
        assert_int_equal(pipe2(ret, O_CLOEXEC), 0);
}

static void test_spawn(void **state) {
        struct outpost *outpost = make();
        int log[2], first[2], second[2];
        char buffer[256];
        pid_t pid = 0;

        make_pipe(log);
        make_pipe(first);
        assert_int_equal(fd_socketpair(second, false), 0);
        const int fds[] = { first[1], second[1] };
        /* It is there until it is known to us. */
        const char *const argv[] = { "/bin/sh", "-c",
                                     "read go <&4; echo three >&3; echo four >&4; echo out; echo err >&2; cat; echo $$; "
                                     "ls /proc/self/fd | wc -l; ps >/dev/null; exec 3>&- 4>&-; exit 0",
                                     NULL };
        _cleanup_fd_ int pidfd = outpost_spawn(outpost, NULL, argv, log[1], fds, 2, &pid);
        assert_true(pidfd >= 0);
        assert_int_equal(write(second[0], "\n", 1), 1);
        fd_close(log[1]);
        fd_close(first[1]);
        fd_close(second[1]);
        read_all(first[0], buffer, sizeof(buffer));
        assert_string_equal(buffer, "three\n");
        read_all(second[0], buffer, sizeof(buffer));
        assert_string_equal(buffer, "four\n");
        read_all(log[0], buffer, sizeof(buffer));
        char expected[64];
        /* 0 to 4, and the directory that ls reads. */
        snprintf(expected, sizeof(expected), "out\nerr\n%d\n6\n", (int)pid);
        assert_string_equal(buffer, expected);
        expect_end(pidfd);
        fd_close(log[0]);
        fd_close(first[0]);
        fd_close(second[0]);
        outpost_free(outpost);
}

static void test_many(void **state) {
        struct outpost *outpost = make();
        const char *const argv[] = { "/bin/true", NULL };
        int log[2];
        pid_t pid;

        make_pipe(log);
        /* Those that ended make room. */
        for (int i = 0; i < 30; i++) {
                _cleanup_fd_ int pidfd = outpost_spawn(outpost, NULL, argv, log[1], NULL, 0, &pid);
                if (pidfd >= 0)
                        expect_end(pidfd);
                else
                        assert_int_equal(pidfd, -ESRCH); /* it was quicker than we */
        }
        fd_close(log[0]);
        fd_close(log[1]);
        outpost_free(outpost);
}

static void test_too_much(void **state) {
        struct outpost *outpost = make();
        char word[5000];
        pid_t pid;
        const int fds[8] = {};

        memset(word, 'x', sizeof(word) - 1);
        word[sizeof(word) - 1] = 0;
        const char *const argv[] = { "/bin/true", word, NULL };
        assert_int_equal(outpost_spawn(outpost, NULL, argv, 2, NULL, 0, &pid), -E2BIG);
        assert_int_equal(outpost_spawn(outpost, NULL, (const char *const[]){ "/bin/true", NULL }, 2, fds, 8, &pid),
                         -E2BIG);
        outpost_free(outpost);
}

/* Whatever ends us ends what the outpost started: here the process at the helm is killed. */
static void check_end(bool kill_it) {
        /* The kernel forgets the parent-death signal of a program that changes its user or its namespaces, as
         * pasta does; so does this one. */
        const char *const argv[] = { "/usr/bin/setpriv",      "--pdeathsig", "clear", "/bin/sh", "-c",
                                     "echo; exec sleep 1000", NULL };
        int pair[2], log[2];
        char byte;

        make_pipe(log);
        assert_int_equal(fd_socketpair(pair, false), 0);
        pid_t helm = fork();
        if (helm == 0) {
                struct outpost *outpost = NULL;
                pid_t pid = 0;

                fd_close(pair[0]);
                if (outpost_new(&outpost, NULL) < 0)
                        _exit(1);
                int pidfd = outpost_spawn(outpost, NULL, argv, log[1], NULL, 0, &pid);
                if (pidfd < 0 || write(pair[1], &pid, sizeof(pid)) != sizeof(pid))
                        _exit(1);
                if (!kill_it && read(pair[1], &byte, 1) == 1) {
                        outpost_free(outpost);
                        _exit(0);
                }
                for (;;)
                        pause();
        }
        fd_close(pair[1]);
        pid_t pid = 0;
        assert_int_equal(read(pair[0], &pid, sizeof(pid)), sizeof(pid));
        _cleanup_fd_ int pidfd = process_open(pid);
        assert_true(pidfd >= 0);
        assert_int_equal(read(log[0], &byte, 1), 1); /* it has forgotten the signal */
        fd_close(log[0]);
        fd_close(log[1]);
        if (kill_it)
                assert_int_equal(kill(helm, SIGKILL), 0);
        else
                assert_int_equal(write(pair[0], "x", 1), 1);
        expect_end(pidfd);
        assert_int_equal(waitpid(helm, NULL, 0), helm);
        fd_close(pair[0]);
}

static void test_end(void **state) {
        check_end(true);
        check_end(false);
}

/* It holds nothing of ours but its socket: others wait for the end of what we have. */
static void test_holds_nothing(void **state) {
        int pipe_fds[2];
        char byte;

        make_pipe(pipe_fds);
        struct outpost *outpost = make();
        fd_close(pipe_fds[1]);
        assert_int_equal(read(pipe_fds[0], &byte, 1), 0);
        fd_close(pipe_fds[0]);
        outpost_free(outpost);
}

HARNESS_MAIN(cmocka_unit_test(test_sockets), cmocka_unit_test(test_spawn), cmocka_unit_test(test_many),
             cmocka_unit_test(test_too_much), cmocka_unit_test(test_end),
             cmocka_unit_test(test_holds_nothing))
