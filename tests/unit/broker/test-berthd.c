/* berthd: its own life, from the start to the end. */
#include "harness.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "fixture.h"

static void test_second_broker(void **state) {
        struct fixture *fixture = *state;
        int status;

        pid_t pid = fork();
        if (pid == 0) {
                close(2);
                execl(BERTHD, BERTHD, "--foreground", "--socket", fixture->socket, "--state",
                      fixture->directory, "--network-program", STAND_IN, NULL);
                _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WEXITSTATUS(status), 3);
        json_auto_t *body = ask_once(fixture, "list", NULL);
        assert_int_equal(error_of(body), 0);
}

/* Who is told that a broker did not start may start another at once. */
static void test_failed_start(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *lock = text_format("%s/run/berthd.lock", fixture->directory);
        char line[256];

        fixture_stop(fixture, SIGTERM);
        for (int i = 0; i < 20; i++) {
                fixture_try(fixture, (const char *const[]){ "--network-program", "/nonesuch", NULL }, line);
                int fd = file_lock(lock, false, NULL);
                assert_non_null(strstr(line, "/nonesuch"));
                assert_true(fd >= 0);
                close(fd);
                assert_int_equal(WEXITSTATUS(fixture_stop(fixture, 0)), 1);
        }
}

/* Starts a broker that ends as soon as it is idle, which is after a second at least, and stops it before:
 * where the machine is so busy that it ends sooner than we come to it, another. */
static void start_brief(struct fixture *fixture) {
        siginfo_t info = {};

        for (;;) {
                fixture_start(fixture, (const char *const[]){ "--idle-timeout", "0", NULL });
                /* The one thing that an idle broker waits for is its events. */
                harness_wait_until_asleep(fixture->broker);
                assert_int_equal(kill(fixture->broker, SIGSTOP), 0);
                assert_int_equal(waitid(P_PID, (id_t)fixture->broker, &info, WEXITED | WSTOPPED | WNOWAIT),
                                 0);
                /* It may be stopped on its end, too. */
                if (info.si_code == CLD_STOPPED && fixture_has_file(fixture, "run/broker.sock"))
                        return;
                assert_int_equal(fixture_stop(fixture, SIGCONT), 0);
        }
}

static void test_idle_broker_ends(void **state) {
        struct fixture *fixture = *state;

        fixture_stop(fixture, SIGTERM);
        assert_false(fixture_has_file(fixture, "run/broker.sock"));
        start_brief(fixture);
        struct wire *client = fixture_connect(fixture);
        assert_int_equal(kill(fixture->broker, SIGCONT), 0);
        struct wire *handle = acquire(client, "shared", NULL);
        wire_free(handle);
        wire_free(client);
        assert_int_equal(fixture_stop(fixture, 0), 0); /* by itself */
        assert_false(fixture_has_file(fixture, "run/broker.sock"));
        assert_false(fixture_has_file(fixture, "run/networks/shared"));
}

/* Who could connect is served, even at the moment at which the broker ends: the time is up and the connection
 * is there before it runs again. */
static void test_race_with_the_brokers_end(void **state) {
        struct fixture *fixture = *state;

        /* The connection first, or the time: which the broker sees first, too. */
        for (int i = 0; i < 2; i++) {
                fixture_stop(fixture, i == 0 ? SIGTERM : 0);
                start_brief(fixture);
                struct wire *client = i ? NULL : fixture_connect(fixture);
                usleep(1100000); /* the time that it waits, which is a second at least */
                client = client ?: fixture_connect(fixture);
                assert_int_equal(kill(fixture->broker, SIGCONT), 0);
                expect_error(client, "nonsense", NULL, 4);
                /* And it still listens. */
                struct wire *second = fixture_connect(fixture);
                expect_error(second, "nonsense", NULL, 4);
                wire_free(second);
                wire_free(client);
        }
        assert_int_equal(fixture_stop(fixture, 0), 0);
}

/* As a service manager starts it: with a socket that listens already, and one to be told at. */
static void run_activated(struct fixture *fixture, int listener, const char *notify) {
        char pid[16];

        snprintf(pid, sizeof(pid), "%d", getpid());
        setenv("LISTEN_PID", pid, 1);
        setenv("LISTEN_FDS", "1", 1);
        setenv("NOTIFY_SOCKET", notify, 1);
        if (listener != 3)
                dup2(listener, 3);
        fd_set_cloexec(3, false);
        close(2);
        execl(BERTHD, BERTHD, "--foreground", "--socket", fixture->socket, "--state", fixture->directory,
              "--network-program", STAND_IN, NULL);
        _exit(127);
}

static void expect_notification(int fd, const char *expected) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        char text[64] = "";

        assert_int_equal(poll(&p, 1, 60000), 1);
        assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
        assert_string_equal(text, expected);
}

static void test_activation(void **state) {
        struct fixture *fixture = *state;
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        fixture_stop(fixture, SIGTERM);
        int listener = fd_listen_unix(fixture->socket, 0600);
        assert_true(listener >= 0);
        int notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", fixture->directory);
        assert_int_equal(bind(notify, (struct sockaddr *)&address, sizeof(address)), 0);

        /* Who connected before the broker was there could still pass it something. */
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = { .align = { .cmsg_len = CMSG_LEN(sizeof(int)),
                                 .cmsg_level = SOL_SOCKET,
                                 .cmsg_type = SCM_RIGHTS } };
        struct iovec vector = { .iov_base = (char *)"{\"command\":\"list\"}\n", .iov_len = 19 };
        struct msghdr message = { .msg_iov = &vector,
                                  .msg_iovlen = 1,
                                  .msg_control = &control,
                                  .msg_controllen = sizeof(control) };
        struct wire_message reply = WIRE_MESSAGE_INIT;
        int other, stubborn = harness_make_stubborn_socket(&other);
        struct wire *early = fixture_connect(fixture);
        memcpy(CMSG_DATA(&control.align), &stubborn, sizeof(stubborn));
        assert_int_equal(sendmsg(wire_fd(early), &message, MSG_NOSIGNAL), 19);
        fd_close(stubborn);

        fixture->broker = fork();
        if (fixture->broker == 0)
                run_activated(fixture, listener, address.sun_path);
        expect_notification(notify, "READY=1");
        struct wire *client = fixture_connect(fixture), *handle = acquire(client, "shared", NULL);
        receive_reply(early, &reply);
        assert_int_equal(error_of(reply.body), 4);
        wire_message_deinit(&reply);
        wire_free(early);
        fd_close(other);
        wire_free(handle);
        wire_free(client);
        assert_int_equal(fixture_stop(fixture, SIGTERM), 0);
        expect_notification(notify, "STOPPING=1");
        assert_true(fixture_has_file(fixture, "run/broker.sock")); /* the manager's */
        fd_close(notify);
        fd_close(listener);
}

static void test_user_mode_for_root(void **state) {
        int status;

        if (geteuid() != 0)
                skip();
        pid_t pid = fork();
        if (pid == 0) {
                close(2);
                execl(BERTHD, BERTHD, "--user", NULL);
                _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WEXITSTATUS(status), 2);
}

HARNESS_MAIN(WITH_BROKER(test_second_broker), WITH_BROKER(test_failed_start), WITH_BROKER(test_idle_broker_ends),
             WITH_BROKER(test_race_with_the_brokers_end), WITH_BROKER(test_activation),
             cmocka_unit_test(test_user_mode_for_root))
