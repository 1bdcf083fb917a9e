/* base/elsewhere: closes that would last are over at once. One that lasts after all ends the program (harness.h). */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/elsewhere.h"
#include "base/fd.h"

static void test_lingering(void **state) {
        int other;
        int fd = harness_make_stubborn_socket(&other);

        assert_int_equal(elsewhere_close(fd), -1);
        assert_int_equal(fcntl(fd, F_GETFD), -1);
        fd_close(other);
}

/* What nobody has read goes with the socket, and that with a process. */
static void test_queue(void **state) {
        int pair[2], others[2];

        assert_int_equal(fd_socketpair(pair, false), 0);
        for (size_t i = 0; i < 2; i++)
                harness_pass_fd(pair[1], harness_make_stubborn_socket(&others[i]));
        elsewhere_close(pair[0]);
        /* Our child has it no longer either, once the peer sees the end. */
        struct pollfd p = { .fd = pair[1], .events = POLLRDHUP };
        assert_int_equal(poll(&p, 1, -1), 1);
        fd_close(pair[1]);
        for (size_t i = 0; i < 2; i++)
                fd_close(others[i]);
}

static void test_several(void **state) {
        int fds[6] = { -1, -1, -1, -1, -1, -1 }, others[2], pair[2];

        fds[0] = harness_make_stubborn_socket(&others[0]);
        fds[2] = harness_make_stubborn_socket(&others[1]);
        assert_int_equal(fd_socketpair(pair, false), 0);
        fds[3] = pair[0];
        fds[4] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        elsewhere_close_all(fds, 6);
        for (size_t i = 0; i < 6; i++)
                assert_int_equal(fds[i], -1);
        fd_close(pair[1]);
        fd_close(others[0]);
        fd_close(others[1]);
}

/* A lock or a listening socket of the caller's is not to be held by a child that is about to end. */
static void test_kept(void **state) {
        int answer[2], other[2];
        bool alone = false;

        assert_int_equal(pipe2(other, O_CLOEXEC), 0);
        assert_int_equal(pipe2(answer, O_CLOEXEC), 0);
        int r = elsewhere_fork((const int[]){ -1, answer[1] }, 2);
        if (r == 0) {
                alone = fcntl(other[1], F_GETFD) < 0 && fcntl(answer[0], F_GETFD) < 0;
                _exit(write(answer[1], &alone, sizeof(alone)) < 0);
        }
        assert_int_equal(r, 1);
        fd_close(answer[1]);
        assert_int_equal(read(answer[0], &alone, sizeof(alone)), sizeof(alone));
        assert_true(alone);
        fd_close(answer[0]);
        fd_close(other[0]);
        fd_close(other[1]);
}

/* What goes on waits for a last close, and what ends does not: so the others are closed while the caller has them yet. */
static void test_closed_before(void **state) {
        for (size_t i = 0; i < 200; i++) {
                int hold[2], other[2];
                char byte;

                assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
                assert_int_equal(pipe2(other, O_CLOEXEC | O_NONBLOCK), 0);
                int r = elsewhere_fork(hold, 1);
                if (r == 0)
                        _exit(read(hold[0], &byte, 1) < 0);
                assert_int_equal(r, 1);
                fd_close(other[1]);
                assert_int_equal(read(other[0], &byte, 1), 0);
                fd_close(other[0]);
                fd_close(hold[0]);
                fd_close(hold[1]);
        }
}

/* Where there is no close_range(2), or a container forbids it. */
static void forbid_close_range(void) {
        struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        const struct sock_fprog program = { .len = 4, .filter = code };

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
                _exit(1);
}

static void test_no_close_range(void **state) {
        int pair[2], other, status;

        assert_int_equal(fd_socketpair(pair, false), 0);
        harness_pass_fd(pair[1], harness_make_stubborn_socket(&other));
        pid_t pid = fork();
        if (pid == 0) {
                forbid_close_range();
                elsewhere_close(pair[0]);
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        elsewhere_close(pair[0]);
        struct pollfd p = { .fd = pair[1], .events = POLLRDHUP };
        assert_int_equal(poll(&p, 1, 60000), 1);
        fd_close(pair[1]);
        fd_close(other);
}

/* Without a child, where none is needed: nobody in this process's group of children is left, and errno is as it was. */
static void test_plain(void **state) {
        int pair[2];

        assert_int_equal(fd_socketpair(pair, false), 0);
        errno = EXDEV;
        assert_int_equal(elsewhere_close(-1), -1);
        assert_int_equal(elsewhere_close(pair[0]), -1);
        assert_int_equal(elsewhere_close(pair[1]), -1); /* its peer is gone */
        assert_int_equal(errno, EXDEV);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
}

HARNESS_MAIN(cmocka_unit_test(test_lingering), cmocka_unit_test(test_queue), cmocka_unit_test(test_several),
             cmocka_unit_test(test_kept), cmocka_unit_test(test_closed_before),
             cmocka_unit_test(test_no_close_range), cmocka_unit_test(test_plain))
