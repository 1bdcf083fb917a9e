/* What every unit test program shares: cmocka, its main, and the check for leaked file descriptors. */
#include "harness.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

/* Where a test hangs there is a bug: the program ends with SIGALRM, and the runner says so, whose own patience is longer
 * (meson.build). It is for all tests of a program, of which some wait for half a minute on a machine at rest. */
#define HANG_SECONDS 240

/* What a starter ignores or blocks, as nohup(1) and a shell's background do, is inherited, also by what tests start. */
static void reset_signals(void) {
        static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGPIPE, SIGCHLD };
        sigset_t none;

        for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
                signal(signals[i], SIG_DFL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
}

int harness_run(const struct CMUnitTest *tests, size_t n) {
        size_t before = fd_count_open(), after;
        int failed;

        reset_signals();
        alarm(HANG_SECONDS);
        failed = _cmocka_run_group_tests("unit", tests, n, NULL, NULL);
        after = fd_count_open();
        if (after != before) {
                printf("# %zd file descriptors leaked\n", (ssize_t)(after - before));
                return 1;
        }
        return failed ? 1 : 0;
}

int harness_make_stubborn_socket(int *ret_other_end) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        const struct linger linger = { .l_onoff = 1, .l_linger = 3600 };
        static const char block[65536];
        socklen_t size = sizeof(address);
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(listener, 1), 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        *ret_other_end = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(*ret_other_end >= 0);
        fd_close(listener);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
        while (send(fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
                ;
        return fd;
}

char *harness_make_directory(void) {
        const char *parent = getenv("TMPDIR");
        char *path = text_format("%s/berth-test-XXXXXX", parent ? parent : "/tmp");

        assert_non_null(path);
        assert_non_null(mkdtemp(path));
        return path;
}

void harness_remove_directory(char *path) {
        assert_int_equal(file_remove_tree(path, NULL), 0);
        free(path);
}

void harness_pass_fd(int socket, int consume_fd) {
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = { .align = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
                                 .cmsg_type = SCM_RIGHTS } };
        struct iovec vector = { .iov_base = (char[]){ '{' }, .iov_len = 1 };
        struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control,
                                  .msg_controllen = sizeof(control) };

        memcpy(CMSG_DATA(&control.align), &consume_fd, sizeof(int));
        assert_int_equal(sendmsg(socket, &message, MSG_NOSIGNAL), 1);
        fd_close(consume_fd);
}

bool harness_wait_until_asleep(pid_t pid) {
        char *path = text_format("/proc/%d/stat", pid), *text;
        char state = 'R'; /* proc(5) */
        size_t size;

        assert_non_null(path);
        while (state != 'S' && state != 'Z' && file_read(path, 4096, &text, &size, NULL) == 0) {
                assert_non_null(strrchr(text, ')'));
                state = strrchr(text, ')')[2];
                free(text);
        }
        free(path);
        return state == 'S';
}
