/* loop/loop */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/process.h"
#include "loop/loop.h"

#define MS 1000u /* microseconds */

static int setup(void **state) {
        return loop_new((struct loop **)state);
}

static int teardown(void **state) {
        assert_null(loop_free(*state));
        return 0;
}

/* A pipe with a byte in it. */
static void make_ready_pipe(int pipes[static 2]) {
        assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
        assert_int_equal(write(pipes[1], "x", 1), 1);
}

static void close_pipe(int pipes[static 2]) {
        pipes[0] = fd_close(pipes[0]);
        pipes[1] = fd_close(pipes[1]);
}

/* --- What handlers do --- */

struct record {
        struct loop *loop;
        struct source *own, *other;
        int calls, stop_after; /* loop_exit(17) at that call, unless 0 */
        uint32_t events;
        siginfo_t child;
        uint64_t at[8];
        struct record *next;
        int pipe;
};

static void note(struct record *record) {
        record->at[record->calls % (int)ARRAY_SIZE(record->at)] = loop_now();
        record->calls++;
        if (record->calls == record->stop_after)
                loop_exit(record->loop, 17);
}

static int on_fd(struct source *source, int fd, uint32_t events, void *data) {
        struct record *record = data;

        record->events = events;
        note(record);
        return 0;
}

static int on_timer(struct source *source, void *data) {
        note(data);
        return 0;
}

static int on_child(struct source *source, const siginfo_t *info, void *data) {
        struct record *record = data;

        record->child = *info;
        note(record);
        return 0;
}

static int fail_fd(struct source *source, int fd, uint32_t events, void *data) {
        note(data);
        return -ENOTTY;
}

static int free_both(struct source *source, int fd, uint32_t events, void *data) {
        struct record *record = data;

        note(record);
        record->own = source_free(record->own);
        record->other = source_free(record->other);
        return 0;
}

/* --- Tests --- */

static void test_fd_is_level_triggered(void **state) {
        struct record record = { .loop = *state, .stop_after = 3 };
        struct source *source;
        int pipes[2];

        make_ready_pipe(pipes);
        assert_int_equal(loop_add_fd(*state, &source, pipes[0], EPOLLIN, on_fd, &record), 0);
        assert_int_equal(loop_run(*state), 17);
        assert_int_equal(record.calls, 3);
        assert_int_equal(record.events, EPOLLIN);

        /* A loop that ended runs again. */
        record.stop_after = 4;
        assert_int_equal(loop_run(*state), 17);
        assert_int_equal(record.calls, 4);
        source_free(source);
        close_pipe(pipes);
}

static void test_set_events(void **state) {
        struct record quiet = { .loop = *state }, timer = { .loop = *state, .stop_after = 1 };
        struct source *source, *end;
        int pipes[2];

        make_ready_pipe(pipes);
        assert_int_equal(loop_add_fd(*state, &source, pipes[0], EPOLLIN, on_fd, &quiet), 0);
        assert_int_equal(loop_add_timer(*state, &end, on_timer, &timer), 0);
        assert_int_equal(source_set_events(source, 0), 0);
        source_arm(end, 10 * MS);
        assert_int_equal(loop_run(*state), 17);
        assert_int_equal(quiet.calls, 0);

        /* The hang-up comes unasked. */
        quiet.stop_after = 1;
        pipes[1] = fd_close(pipes[1]);
        assert_int_equal(loop_run(*state), 17);
        assert_true(quiet.events & EPOLLHUP);
        source_free(source);
        source_free(end);
        close_pipe(pipes);
}

static void test_add_fails(void **state) {
        struct record record = { .loop = *state };
        struct source *source = NULL, *first;
        int pipes[2];
        size_t before;

        make_ready_pipe(pipes);
        before = fd_count_open();
        assert_int_equal(loop_add_fd(*state, &source, -1, EPOLLIN, on_fd, &record), -EBADF);
        assert_int_equal(loop_add_fd(*state, &first, pipes[0], EPOLLIN, on_fd, &record), 0);
        /* The failed second registration leaves the first one alone. */
        assert_int_equal(loop_add_fd(*state, &source, pipes[0], EPOLLIN, on_fd, &record), -EEXIST);
        record.stop_after = 1;
        assert_int_equal(loop_run(*state), 17);
        assert_int_equal(loop_add_signal(*state, &source, 999, NULL, NULL), -EINVAL);
        /* A pidfd is consumed on failure too. */
        assert_int_equal(
                loop_add_child(*state, &source, open("/dev/null", O_RDONLY | O_CLOEXEC), on_child, &record),
                -EPERM);
        assert_null(source);
        assert_int_equal(fd_count_open(), before);
        source_free(first);
        close_pipe(pipes);
}

static void test_handler_error_ends(void **state) {
        struct record record = { .loop = *state };
        struct source *source;
        int pipes[2];

        make_ready_pipe(pipes);
        assert_int_equal(loop_add_fd(*state, &source, pipes[0], EPOLLIN, fail_fd, &record), 0);
        assert_int_equal(loop_run(*state), -ENOTTY);
        assert_int_equal(record.calls, 1);
        source_free(source);
        close_pipe(pipes);
}

/* loop_exit in a handler: the handlers of the others that are ready do not run. */
static void test_exit_ends_at_once(void **state) {
        struct record a = { .loop = *state, .stop_after = 1 }, b = { .loop = *state, .stop_after = 1 };
        int p[2], q[2];

        make_ready_pipe(p);
        make_ready_pipe(q);
        assert_int_equal(loop_add_fd(*state, &a.own, p[0], EPOLLIN, on_fd, &a), 0);
        assert_int_equal(loop_add_fd(*state, &b.own, q[0], EPOLLIN, on_fd, &b), 0);
        assert_int_equal(loop_run(*state), 17);
        assert_int_equal(a.calls + b.calls, 1);
        source_free(a.own);
        source_free(b.own);
        close_pipe(p);
        close_pipe(q);
}

static void test_exit_before_run(void **state) {
        loop_exit(*state, 3);
        assert_int_equal(loop_run(*state), 3);
}

/* Two are ready in one wait, and whichever comes first frees both: the other's event must be dropped. */
static void test_free_in_handler(void **state) {
        struct record a = { .loop = *state }, b = { .loop = *state };
        struct record end = { .loop = *state, .stop_after = 1 };
        struct source *timer;
        int p[2], q[2];

        make_ready_pipe(p);
        make_ready_pipe(q);
        assert_int_equal(loop_add_fd(*state, &a.own, p[0], EPOLLIN, free_both, &a), 0);
        assert_int_equal(loop_add_fd(*state, &b.own, q[0], EPOLLIN, free_both, &b), 0);
        a.other = b.own;
        b.other = a.own;
        assert_int_equal(loop_add_timer(*state, &timer, on_timer, &end), 0);
        source_arm(timer, 10 * MS);
        assert_int_equal(loop_run(*state), 17);
        assert_int_equal(a.calls + b.calls, 1);
        source_free(timer);
        close_pipe(p);
        close_pipe(q);
}

/* A copy of the fd elsewhere keeps its registration in the kernel: freeing must still end it. */
static void test_free_with_duplicate_fd(void **state) {
        struct record record = { .loop = *state }, end = { .loop = *state, .stop_after = 1 };
        struct source *source, *timer;
        int pipes[2], copy;

        make_ready_pipe(pipes);
        copy = fd_dup(pipes[0]);
        assert_int_equal(loop_add_fd(*state, &source, pipes[0], EPOLLIN, on_fd, &record), 0);
        source = source_free(source);
        close_pipe(pipes);
        assert_int_equal(loop_add_timer(*state, &timer, on_timer, &end), 0);
        source_arm(timer, 5 * MS);
        assert_int_equal(loop_run(*state), 17);
        assert_int_equal(record.calls, 0);
        fd_close(copy);
}

/* All that is ready is handled before the next wait, more than one batch of it too. */
static void test_many_fds(void **state) {
        enum { N = 200 };
        struct record records[N] = {};
        struct source *sources[N];
        int pipes[N][2];

        for (int i = 0; i < N; i++) {
                make_ready_pipe(pipes[i]);
                records[i].loop = *state;
                assert_int_equal(loop_add_fd(*state, &sources[i], pipes[i][0], EPOLLIN, on_fd, &records[i]),
                                 0);
        }
        records[N / 2].stop_after = 4;
        assert_int_equal(loop_run(*state), 17);
        for (int i = 0; i < N; i++)
                assert_in_range(records[i].calls, 3, 5);
        for (int i = 0; i < N; i++) {
                source_free(sources[i]);
                close_pipe(pipes[i]);
        }
}

static void test_timer_order(void **state) {
        struct record records[4] = {};
        struct source *timers[4];
        static const unsigned delays[] = { 9, 3, 6, 3 };
        uint64_t start;

        for (int i = 0; i < 4; i++) {
                records[i].loop = *state;
                assert_int_equal(loop_add_timer(*state, &timers[i], on_timer, &records[i]), 0);
        }
        /* A pause between two is to leave their deadlines in the order of the delays. */
        do {
                start = loop_now();
                for (int i = 0; i < 4; i++)
                        source_arm(timers[i], delays[i] * MS);
        } while (loop_now() - start >= 3 * MS);
        records[0].stop_after = 1;
        assert_int_equal(loop_run(*state), 17);
        for (int i = 0; i < 4; i++) {
                assert_int_equal(records[i].calls, 1);
                assert_true(records[i].at[0] >= start + delays[i] * MS);
                timers[i] = source_free(timers[i]);
        }
        assert_true(records[1].at[0] <= records[3].at[0] && records[3].at[0] <= records[2].at[0] &&
                    records[2].at[0] <= records[0].at[0]);
}

static int rearm(struct source *source, void *data) {
        note(data);
        source_arm(source, 0);
        return 0;
}

static void test_timer_rearms(void **state) {
        struct record record = { .loop = *state, .stop_after = 5 }, other = { .loop = *state };
        struct record busy = { .loop = *state };
        struct source *timer, *disarmed, *fd;
        int pipes[2];

        make_ready_pipe(pipes);
        assert_int_equal(loop_add_timer(*state, &timer, rearm, &record), 0);
        assert_int_equal(loop_add_timer(*state, &disarmed, on_timer, &other), 0);
        assert_int_equal(loop_add_fd(*state, &fd, pipes[0], EPOLLIN, on_fd, &busy), 0);
        source_arm(disarmed, 0);
        source_disarm(disarmed);
        source_disarm(disarmed);
        /* Set anew: the second time counts. */
        source_arm(timer, 3600 * 1000 * MS);
        source_arm(timer, 0);
        assert_int_equal(loop_run(*state), 17);
        assert_int_equal(record.calls, 5);
        assert_int_equal(other.calls, 0);
        /* A timer that is always due starves no fd. */
        assert_true(busy.calls >= 3);
        source_free(timer);
        source_free(disarmed);
        source_free(fd);
        close_pipe(pipes);
}

/* Stands still for longer than the other's deadline, and then gets it what that one is for. */
static int stand_still(struct source *source, int fd, uint32_t events, void *data) {
        struct record *record = data;

        note(record);
        assert_int_equal(poll(NULL, 0, 20), 0);
        assert_int_equal(write(record->pipe, "x", 1), 1);
        record->own = source_free(record->own);
        return 0;
}

static int disarm_other(struct source *source, int fd, uint32_t events, void *data) {
        struct record *record = data;

        source_disarm(record->other);
        return on_fd(source, fd, events, data);
}

static void test_timer_after_fds(void **state) {
        struct record still = { .loop = *state }, late = { .loop = *state };
        struct record answer = { .loop = *state, .stop_after = 1 };
        int p[2], q[2];

        make_ready_pipe(p);
        assert_int_equal(pipe2(q, O_CLOEXEC | O_NONBLOCK), 0);
        still.pipe = q[1];
        assert_int_equal(loop_add_fd(*state, &still.own, p[0], EPOLLIN, stand_still, &still), 0);
        assert_int_equal(loop_add_fd(*state, &answer.own, q[0], EPOLLIN, disarm_other, &answer), 0);
        assert_int_equal(loop_add_timer(*state, &answer.other, on_timer, &late), 0);
        source_arm(answer.other, MS);
        assert_int_equal(loop_run(*state), 17);
        assert_int_equal(still.calls, 1);
        assert_int_equal(answer.calls, 1);
        assert_int_equal(late.calls, 0);
        source_free(answer.own);
        source_free(answer.other);
        close_pipe(p);
        close_pipe(q);
}

static int free_other_timer(struct source *source, void *data) {
        struct record *record = data;

        note(record);
        record->own = source_free(record->own);
        record->other = source_free(record->other);
        return 0;
}

static void test_timer_freed_in_handler(void **state) {
        struct record a = { .loop = *state, .stop_after = 1 }, b = { .loop = *state };

        assert_int_equal(loop_add_timer(*state, &a.own, free_other_timer, &a), 0);
        assert_int_equal(loop_add_timer(*state, &a.other, on_timer, &b), 0);
        source_arm(a.own, 0);
        source_arm(a.other, 0);
        assert_int_equal(loop_run(*state), 17);
        assert_int_equal(b.calls, 0);
}

/* Two that are due together, and the first ends the loop: the second comes with the next run. (Armed one
 * right after the other, they mostly have the same deadline.) */
static void test_timers_left_due(void **state) {
        for (int i = 0; i < 50; i++) {
                struct record a = { .loop = *state, .stop_after = 1 },
                              b = { .loop = *state, .stop_after = 1 };

                assert_int_equal(loop_add_timer(*state, &a.own, on_timer, &a), 0);
                assert_int_equal(loop_add_timer(*state, &b.own, on_timer, &b), 0);
                source_arm(a.own, 10);
                source_arm(b.own, 10);
                assert_int_equal(loop_run(*state), 17);
                assert_int_equal(a.calls, 1);
                assert_int_equal(b.calls, 0);
                assert_int_equal(loop_run(*state), 17);
                assert_int_equal(b.calls, 1);
                source_free(a.own);
                source_free(b.own);
        }
}

static void test_timer_far_away(void **state) {
        struct record far = { .loop = *state }, near = { .loop = *state, .stop_after = 1 };
        struct source *a, *b;

        assert_int_equal(loop_add_timer(*state, &a, on_timer, &far), 0);
        assert_int_equal(loop_add_timer(*state, &b, on_timer, &near), 0);
        source_arm(a, UINT64_MAX);
        source_arm(b, MS);
        assert_int_equal(loop_run(*state), 17);
        assert_int_equal(far.calls, 0);
        source_free(a);
        source_free(b);
}

static int on_signal(struct source *source, const struct signalfd_siginfo *info, void *data) {
        struct record *record = data;

        assert_int_equal(info->ssi_signo, SIGUSR1);
        assert_int_equal(info->ssi_pid, getpid());
        note(record);
        return 0;
}

static void test_signal(void **state) {
        struct record record = { .loop = *state, .stop_after = 1 };
        struct source *source;

        assert_int_equal(loop_add_signal(*state, &source, SIGUSR1, on_signal, &record), 0);
        assert_int_equal(raise(SIGUSR1), 0);
        assert_int_equal(loop_run(*state), 17);
        assert_int_equal(record.calls, 1);
        source_free(source);
}

/* A child that ends with 5 when `stay` is false, and when killed otherwise. */
static pid_t spawn(bool stay) {
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                while (stay)
                        pause();
                _exit(5);
        }
        return pid;
}

static void test_child_exits(void **state) {
        struct record record = { .loop = *state, .stop_after = 1 };
        pid_t pid = spawn(false);
        struct source *source;

        assert_int_equal(loop_add_child(*state, &source, process_open(pid), on_child, &record), 0);
        assert_int_equal(loop_run(*state), 17);
        assert_int_equal(record.child.si_pid, pid);
        assert_int_equal(record.child.si_code, CLD_EXITED);
        assert_int_equal(record.child.si_status, 5);
        /* Reaped: there is nothing left to wait for. */
        assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
        source_free(source);
}

static int reap_and_free(struct source *source, const siginfo_t *info, void *data) {
        on_child(source, info, data);
        source_free(source);
        return 0;
}

static void test_child_killed(void **state) {
        struct record record = { .loop = *state, .stop_after = 1 };
        pid_t pid = spawn(true);
        struct source *source;
        int pidfd = process_open(pid);

        assert_int_equal(process_signal(pidfd, SIGTERM), 0);
        assert_int_equal(loop_add_child(*state, &source, pidfd, reap_and_free, &record), 0);
        assert_int_equal(loop_run(*state), 17);
        assert_int_equal(record.child.si_code, CLD_KILLED);
        assert_int_equal(record.child.si_status, SIGTERM);
}

/* A process that is not our child: a grandchild, which its own parent reaps. */
static void test_child_of_another(void **state) {
        struct record record = { .loop = *state, .stop_after = 1 };
        struct source *source;
        pid_t parent, pid;
        int pipes[2];

        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        parent = fork();
        assert_true(parent >= 0);
        if (parent == 0) {
                pid = spawn(true);
                if (write(pipes[1], &pid, sizeof(pid)) != sizeof(pid))
                        _exit(1);
                waitpid(pid, NULL, 0);
                _exit(0);
        }
        assert_int_equal(read(pipes[0], &pid, sizeof(pid)), sizeof(pid));
        close_pipe(pipes);
        assert_int_equal(loop_add_child(*state, &source, process_open(pid), on_child, &record), 0);
        kill(pid, SIGKILL);
        assert_int_equal(loop_run(*state), 17);
        assert_int_equal(record.child.si_pid, 0);
        source_free(source);
        assert_int_equal(waitpid(parent, NULL, 0), parent);
}

/* The loop frees what is left of its sources; the leak check at the end and the sanitizer build watch. */
static void test_loop_frees_sources(void **state) {
        _cleanup_(loop_freep) struct loop *loop = NULL;
        struct record record = {};
        struct source *source;
        pid_t pid = spawn(true);

        assert_int_equal(loop_new(&loop), 0);
        assert_int_equal(loop_add_timer(loop, &source, on_timer, &record), 0);
        source_arm(source, MS);
        assert_int_equal(loop_add_signal(loop, &source, SIGUSR2, on_signal, &record), 0);
        assert_int_equal(loop_add_child(loop, &source, process_open(pid), on_child, &record), 0);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

HARNESS_MAIN(TEST(test_fd_is_level_triggered), TEST(test_set_events), TEST(test_add_fails),
             TEST(test_handler_error_ends), TEST(test_exit_ends_at_once), TEST(test_exit_before_run),
             TEST(test_free_in_handler), TEST(test_free_with_duplicate_fd), TEST(test_many_fds),
             TEST(test_timer_order), TEST(test_timer_rearms), TEST(test_timer_after_fds),
             TEST(test_timer_freed_in_handler), TEST(test_timers_left_due), TEST(test_timer_far_away), TEST(test_signal),
             TEST(test_child_exits), TEST(test_child_killed), TEST(test_child_of_another),
             cmocka_unit_test(test_loop_frees_sources))
