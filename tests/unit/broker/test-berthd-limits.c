/* berthd: limits, and clients that wish it ill. */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/elsewhere.h"
#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "broker/user.h"
#include "fixture.h"
#include "loop/loop.h"

static size_t count_broker_fds(struct fixture *fixture) {
        char *path = text_format("/proc/%d/fd", fixture->broker);
        DIR *directory = opendir(path);
        size_t n = 0;

        assert_non_null(directory);
        while (readdir(directory))
                n++;
        closedir(directory);
        free(path);
        return n;
}

/* Each look comes after a turn of the broker's, in which it took and answered a client; one that it refused
 * came before it had seen others go. */
static void wait_for_broker_fds(struct fixture *fixture, size_t n) {
        uint64_t deadline = loop_now() + 60000000;
        size_t found = 0;

        do {
                struct wire *client = fixture_connect(fixture);
                struct wire_message reply;

                ask(client, "nonsense", NULL, &reply);
                if (error_of(reply.body) == 4)
                        found = count_broker_fds(fixture) - 1; /* without the client's */
                wire_message_deinit(&reply);
                wire_free(client);
        } while (found != n && loop_now() < deadline);
        assert_int_equal(found, n);
}

/* An error by the given code comes, and then the end. */
static void expect_refusal(int fd, int code) {
        char line[1024] = "", expected[32];
        struct pollfd p = { .fd = fd, .events = POLLIN };

        assert_int_equal(poll(&p, 1, 60000), 1);
        assert_true(recv(fd, line, sizeof(line) - 1, 0) > 0);
        snprintf(expected, sizeof(expected), "{\"error\":%d,", code);
        assert_non_null(strstr(line, expected));
        wait_for_end(fd);
}

/* What everybody else sees while somebody misbehaves: nothing. */
static void assert_served(struct fixture *fixture) {
        struct wire *client = fixture_connect(fixture), *handle = acquire(client, "shared", NULL);

        handle_server(handle, NULL);
        wire_free(handle);
        wire_free(client);
}

static void test_connections(void **state) {
        int fds[USER_CONNECTIONS_MAX];
        size_t before = count_broker_fds(*state);

        for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
                fds[i] = fd_connect_unix(((struct fixture *)*state)->socket);
                assert_true(fds[i] >= 0);
        }
        int more = fd_connect_unix(((struct fixture *)*state)->socket);
        expect_refusal(more, 3);
        fd_close(more);
        /* One that goes makes room for one. */
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                fd_close(fds[i]);
        wait_for_broker_fds(*state, before);
        assert_served(*state);
}

static void test_networks(void **state) {
        struct wire *client = fixture_connect(*state), *handles[USER_NETWORKS_MAX];
        char name[32];

        for (int i = 0; i <= USER_NETWORKS_MAX; i++) {
                snprintf(name, sizeof(name), "net%d", i);
                fixture_define(*state, name, "{\"idle_timeout_sec\": 0}");
                if (i < USER_NETWORKS_MAX)
                        handles[i] = acquire(client, name, NULL);
        }
        expect_error(client, "acquire", name, 3);
        wire_free(handles[0]);
        wait_for_leases(*state, "net0", -1);
        handles[0] = acquire(client, name, NULL);
        for (int i = 0; i < USER_NETWORKS_MAX; i++)
                wire_free(handles[i]);
        wire_free(client);
        wait_for_leases(*state, name, -1);
}

static void test_half_a_line(void **state) {
        int fds[100];

        for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
                fds[i] = fd_connect_unix(((struct fixture *)*state)->socket);
                if (i % 2) /* the others say nothing at all */
                        assert_int_equal(send(fds[i], "{\"command\":", 11, 0), 11);
        }
        assert_served(*state);
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
                assert_true(is_open(fds[i]));
                fd_close(fds[i]);
        }
}

static void test_no_newline(void **state) {
        int fd = fd_connect_unix(((struct fixture *)*state)->socket);
        char *megabyte = malloc(1 << 20);
        size_t sent = 0;
        ssize_t n;

        memset(megabyte, 'x', 1 << 20);
        while (sent < 1 << 20 && (n = send(fd, megabyte + sent, (1 << 20) - sent, MSG_NOSIGNAL)) > 0)
                sent += (size_t)n;
        expect_refusal(fd, 4);
        free(megabyte);
        fd_close(fd);
        assert_served(*state);
}

/* 0, or EPERM where the kernel lets the broker refuse all descriptors. */
static int send_fds(int socket, const char *text, int fd, size_t n) {
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int) * 250)];
        } control = {};
        struct iovec vector = { .iov_base = (char *)text, .iov_len = strlen(text) };
        struct msghdr message = {
                .msg_iov = &vector,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = CMSG_SPACE(sizeof(int) * n),
        };

        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(sizeof(int) * n);
        for (size_t i = 0; i < n; i++)
                memcpy(CMSG_DATA(&control.align) + i * sizeof(int), &fd, sizeof(fd));
        if (sendmsg(socket, &message, MSG_NOSIGNAL) > 0)
                return 0;
        assert_int_equal(errno, EPERM);
        return EPERM;
}

static void test_many_fds(void **state) {
        size_t before = count_broker_fds(*state);
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        int few = fd_connect_unix(((struct fixture *)*state)->socket);
        int many = fd_connect_unix(((struct fixture *)*state)->socket);
        char reply[1024];

        if (send_fds(few, "{\"command\":\"list\"}\n", null, 3) == 0) {
                assert_true(recv(few, reply, sizeof(reply), 0) > 0);
                assert_non_null(memmem(reply, sizeof(reply), "{\"error\":4,", 11));
        }
        assert_true(is_open(few));
        /* 300 of them, in two lots, for one line that does not end. */
        if (send_fds(many, "{", null, 250) == 0) {
                send_fds(many, "\"command\"", null, 50);
                expect_refusal(many, 4);
        }
        fd_close(many);
        fd_close(few);
        fd_close(null);
        wait_for_broker_fds(*state, before);
        assert_served(*state);
}

/* Nor is anybody held up by descriptors that are slow to close. */
static void test_stubborn_fds(void **state) {
        static const char *const texts[] = { "{", "{\"command\":\"list\"}\n" };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                int other, fd = harness_make_stubborn_socket(&other);
                int client = fd_connect_unix(((struct fixture *)*state)->socket);

                send_fds(client, texts[i], fd, 1);
                elsewhere_close(fd); /* where it was not taken, ours is the last */
                fd_close(client);
                assert_served(*state);
                fd_close(other);
        }
}

/* From a client that asks and does not read, no more is taken than there is room for answers; and nothing is
 * lost. */
static void test_never_reads(void **state) {
        static const char request[] = "{\"command\":\"list\"}\n";
        struct wire *client = fixture_connect(*state);
        unsigned sent = 0, refusals = 0;

        /* Full, and still full after others were served again and again: so the broker has stopped reading.
         */
        while (refusals < 20) {
                ssize_t n = send(wire_fd(client), request, strlen(request), MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0) {
                        assert_int_equal(errno, EAGAIN);
                        assert_served(*state);
                        refusals++;
                } else {
                        assert_int_equal(n, strlen(request));
                        sent++;
                        refusals = 0;
                }
        }
        while (sent-- > 0) {
                struct wire_message reply;

                receive_reply(client, &reply);
                assert_int_equal(error_of(reply.body), 0);
                wire_message_deinit(&reply);
        }
        wire_free(client);
}

/* Clients that acquire and die at random leave nothing. */
static void test_random_deaths(void **state) {
        struct fixture *fixture = *state;
        static const char request[] = "{\"command\":\"acquire\",\"network_name\":\"brief\"}\n";
        unsigned random = 12345; /* always the same sequence */
        int fds[50];

        fixture_define(fixture, "brief", "{\"idle_timeout_sec\": 0}");
        size_t before = count_broker_fds(fixture);
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                fds[i] = -1;
        for (unsigned i = 0; i < 5000; i++) {
                random = random * 1103515245 + 12345;
                int *fd = &fds[(random >> 16) % ARRAY_SIZE(fds)];

                if (*fd < 0)
                        *fd = fd_connect_unix(fixture->socket);
                else if ((random >> 24) % 3 == 0)
                        *fd = fd_close(*fd);
                else if (send(*fd, request, strlen(request), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                        assert_int_equal(errno, EAGAIN);
        }
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                fd_close(fds[i]);
        wait_for_leases(fixture, "brief", -1);
        wait_for_broker_fds(fixture, before);
}

HARNESS_MAIN(WITH_BROKER(test_connections), WITH_BROKER(test_networks), WITH_BROKER(test_half_a_line),
             WITH_BROKER(test_no_newline), WITH_BROKER(test_many_fds), WITH_BROKER(test_stubborn_fds), WITH_BROKER(test_never_reads),
             WITH_BROKER(test_random_deaths))
