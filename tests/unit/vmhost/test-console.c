/* vmhost/console: QEMU's side and the viewers' are played here, the console is served by a child. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "vmhost/console-log.h"
#include "vmhost/console.h"
#include "vmhost/endpoint.h"
#include "vmhost/log-file.h"
#include "vmhost/qemu.h"

#define PATIENCE 60000 /* milliseconds */

struct world {
        char *directory;
        int listener; /* QEMU's, which outlives a connection */
        pid_t child;
        int orders; /* to the child: 'c' connects; closing it ends the child */
};

/* ---- The child ---- */

struct server {
        struct loop *loop;
        struct console *console;
};

static int on_order(struct source *source, int fd, uint32_t events, void *data) {
        struct server *server = data;
        char order;

        if (read(fd, &order, 1) != 1)
                loop_exit(server->loop, 0);
        else if (console_connect(server->console, NULL) < 0 || write(fd, "k", 1) != 1)
                loop_exit(server->loop, 2);
        return 0;
}

static int serve(const char *directory, uint64_t log_max, int orders) {
        size_t before = fd_count_open();
        struct server server = { 0 };
        struct source *source;
        int r;

        if (loop_new(&server.loop) < 0 ||
            console_new(&server.console, server.loop, directory, log_max, NULL) < 0 ||
            loop_add_fd(server.loop, &source, orders, EPOLLIN, on_order, &server) < 0 ||
            write(orders, "r", 1) != 1)
                return 3;
        r = loop_run(server.loop);
        source_free(source);
        console_free(server.console);
        loop_free(server.loop);
        return r < 0 ? 4 : r > 0 ? r : fd_count_open() == before ? 0 : 5;
}

/* ---- The test's side ---- */

static int setup_with(void **state, uint64_t log_max) {
        static struct world world;
        char byte;
        int fds[2];

        world = (struct world){ .directory = harness_make_directory() };
        _cleanup_free_ char *path = text_format("%s/" QEMU_CONSOLE_SOCKET, world.directory);
        world.listener = fd_listen_unix(path, 0600);
        assert_true(world.listener >= 0);
        assert_int_equal(fd_set_nonblock(world.listener, false), 0);
        assert_int_equal(fd_socketpair(fds, false), 0);
        world.child = fork();
        assert_true(world.child >= 0);
        if (world.child == 0) {
                fd_close(fds[0]);
                fd_close(world.listener);
                _exit(serve(world.directory, log_max, fds[1]));
        }
        fd_close(fds[1]);
        world.orders = fds[0];
        assert_int_equal(read(world.orders, &byte, 1), 1);
        *state = &world;
        return 0;
}

static int setup(void **state) {
        return setup_with(state, UINT64_MAX);
}

static int setup_small(void **state) {
        return setup_with(state, 1000);
}

/* The child ends well, and its socket with it. */
static int teardown(void **state) {
        struct world *world = *state;
        _cleanup_free_ char *path = text_format("%s/" CONSOLE_SOCKET, world->directory);
        int status;

        fd_close(world->orders);
        assert_int_equal(waitpid(world->child, &status, 0), world->child);
        assert_int_equal(status, 0);
        assert_int_equal(access(path, F_OK), -1);
        fd_close(world->listener);
        harness_remove_directory(world->directory);
        return 0;
}

static void set_patience(int fd) {
        const struct timeval patience = { .tv_sec = PATIENCE / 1000 };

        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
}

/* QEMU's end of a new connection of the console. */
static int connect_qemu(struct world *world) {
        char byte = 'c';

        assert_int_equal(write(world->orders, &byte, 1), 1);
        int fd = accept4(world->listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(read(world->orders, &byte, 1), 1);
        set_patience(fd);
        return fd;
}

static int view(struct world *world) {
        _cleanup_free_ char *path = text_format("%s/" CONSOLE_SOCKET, world->directory);
        int fd = fd_connect_unix(path);

        assert_true(fd >= 0);
        set_patience(fd);
        return fd;
}

static void say(int fd, const char *text) {
        assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void expect(int fd, const char *text) {
        char buffer[4096] = "";
        size_t size = strlen(text);

        assert_true(size < sizeof(buffer));
        for (size_t n = 0; n < size;) {
                ssize_t got = recv(fd, buffer + n, size - n, 0);
                if (got <= 0)
                        fail_msg("\"%s\" instead of \"%s\"", buffer, text);
                n += (size_t)got;
        }
        assert_string_equal(buffer, text);
}

static void expect_end(int fd) {
        char buffer[65536];
        ssize_t n;

        while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
                ;
        assert_true(n == 0 || errno == ECONNRESET);
}

static void test_viewers(void **state) {
        struct world *world = *state;
        _cleanup_fd_ int early = view(world);
        _cleanup_fd_ int qemu = connect_qemu(world);
        struct stat status;

        say(qemu, "first ");
        expect(early, "first ");
        _cleanup_fd_ int late = view(world);
        expect(late, "first ");
        say(qemu, "second ");
        expect(early, "second ");
        expect(late, "second ");

        /* Both type into the same VM, byte for byte. */
        say(late, "l\r");
        expect(qemu, "l\r");
        say(early, "e\x03");
        expect(qemu, "e\x03");

        late = fd_close(late);
        say(qemu, "third");
        expect(early, "third");

        _cleanup_free_ char *path = text_format("%s/" CONSOLE_SOCKET, world->directory);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 07777, 0600);
}

/* Viewers stay from one QEMU to the next; what they type in between is lost. */
static void test_next_run(void **state) {
        struct world *world = *state;
        _cleanup_fd_ int viewer = view(world);
        _cleanup_fd_ int qemu = connect_qemu(world);

        say(qemu, "one");
        expect(viewer, "one");
        shutdown(qemu, SHUT_WR);
        expect_end(qemu); /* the console has seen it */
        say(viewer, "nobody");
        _cleanup_fd_ int marker = view(world);
        expect(marker, "one"); /* served behind the typing, which has been dropped by now */
        _cleanup_fd_ int next = connect_qemu(world);
        say(next, "two");
        expect(viewer, "two");
        expect(marker, "two");
        say(viewer, "typed");
        expect(next, "typed");
}

/* The scrollback of an adopted run is what QEMU's own log has. */
static void test_adoption(void **state) {
        struct world *world = *state;
        _cleanup_free_ char *path = text_format("%s/" CONSOLE_LOG, world->directory);

        assert_int_equal(file_write(path, "from the log ", 13, 0600, false, NULL), 0);
        _cleanup_fd_ int qemu = connect_qemu(world);
        _cleanup_fd_ int viewer = view(world);
        expect(viewer, "from the log ");
        say(qemu, "live");
        expect(viewer, "live");
}

/* A QEMU that stands still takes no connection, and holds up nobody; once it goes on, it is connected. */
static void test_full_queue(void **state) {
        struct world *world = *state;
        char byte = 'c';

        assert_int_equal(listen(world->listener, 0), 0);
        _cleanup_fd_ int filler = endpoint_connect(world->directory, QEMU_CONSOLE_SOCKET);
        assert_true(filler >= 0);
        assert_int_equal(endpoint_connect(world->directory, QEMU_CONSOLE_SOCKET), -EAGAIN);
        assert_int_equal(write(world->orders, &byte, 1), 1);
        assert_int_equal(read(world->orders, &byte, 1), 1);
        _cleanup_fd_ int viewer = view(world);

        _cleanup_fd_ int before = accept4(world->listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(before >= 0);
        _cleanup_fd_ int qemu = accept4(world->listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(qemu >= 0);
        set_patience(qemu);
        say(viewer, "typed");
        expect(qemu, "typed");
        say(qemu, "live");
        expect(viewer, "live");
}

/* One that reads nothing is dropped, and the others have all there is. */
static void test_slow_viewer(void **state) {
        struct world *world = *state;
        _cleanup_fd_ int qemu = connect_qemu(world);
        _cleanup_fd_ int slow = view(world), fast = view(world);
        char line[1024], last[] = "the end";
        int small = 4096;

        setsockopt(slow, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
        memset(line, 'x', sizeof(line) - 1);
        line[sizeof(line) - 1] = '\0';
        for (int i = 0; i < 2000; i++) {
                say(qemu, line);
                expect(fast, line);
        }
        say(qemu, last);
        expect(fast, last);
        expect_end(slow);
        /* Who comes now gets the last of it. */
        _cleanup_fd_ int next = view(world);
        char *buffer = malloc(CONSOLE_SCROLLBACK);
        size_t n = 0;
        while (n < CONSOLE_SCROLLBACK) {
                ssize_t got = recv(next, buffer + n, CONSOLE_SCROLLBACK - n, 0);
                assert_true(got > 0);
                n += (size_t)got;
        }
        assert_memory_equal(buffer + n - strlen(last), last, strlen(last));
        assert_int_equal(buffer[0], 'x');
        free(buffer);
}

/* A VM that takes no input holds up nobody's output, and loses none of the input. */
static void test_slow_qemu(void **state) {
        struct world *world = *state;
        _cleanup_fd_ int qemu = connect_qemu(world), viewer = view(world);
        size_t sent = 0, got = 0;
        char buffer[65536];

        memset(buffer, 'i', sizeof(buffer));
        assert_int_equal(fd_set_nonblock(viewer, true), 0);
        for (;;) {
                ssize_t n = send(viewer, buffer, sizeof(buffer), MSG_NOSIGNAL);
                struct pollfd pollfd = { .fd = viewer, .events = POLLOUT };

                if (n > 0)
                        sent += (size_t)n;
                else if (poll(&pollfd, 1, 200) == 0)
                        break; /* full all the way */
        }
        assert_int_equal(fd_set_nonblock(viewer, false), 0);
        say(qemu, "output");
        expect(viewer, "output");
        while (got < sent) {
                ssize_t n = recv(qemu, buffer, sizeof(buffer), 0);
                assert_true(n > 0);
                got += (size_t)n;
        }
        assert_int_equal(got, sent);
}

static void test_too_many_viewers(void **state) {
        struct world *world = *state;
        int viewers[CONSOLE_VIEWERS_MAX];
        _cleanup_fd_ int qemu = connect_qemu(world);

        for (size_t i = 0; i < CONSOLE_VIEWERS_MAX; i++)
                viewers[i] = view(world);
        _cleanup_fd_ int one_more = view(world);
        expect_end(one_more);
        say(qemu, "all");
        for (size_t i = 0; i < CONSOLE_VIEWERS_MAX; i++) {
                expect(viewers[i], "all");
                fd_close(viewers[i]);
        }
}

/* QEMU writes the log and the socket alike; the console sees by the latter that the former has grown. */
static void test_rotation(void **state) {
        struct world *world = *state;
        _cleanup_free_ char *path = text_format("%s/" CONSOLE_LOG, world->directory);
        _cleanup_free_ char *old = text_format("%s/" CONSOLE_LOG_OLD, world->directory);
        _cleanup_fd_ int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        _cleanup_fd_ int qemu = connect_qemu(world), viewer = view(world);
        char chunk[1001];
        struct stat status;

        memset(chunk, 'l', sizeof(chunk) - 1);
        chunk[sizeof(chunk) - 1] = '\0';
        assert_int_equal(write(log, chunk, 1000), 1000);
        say(qemu, chunk);
        expect(viewer, chunk);
        assert_int_equal(write(log, "more", 4), 4);
        say(qemu, chunk);
        expect(viewer, chunk);
        say(viewer, "done?");
        expect(qemu, "done?"); /* behind the chunk, and what the console did of it */
        assert_int_equal(stat(old, &status), 0);
        assert_int_equal(status.st_size, 1004);
        assert_int_equal(console_log_size(world->directory), 0);
        assert_int_equal(write(log, "after", 5), 5);
        assert_int_equal(console_log_size(world->directory), 5);
}

/* ---- The log by itself ---- */

static void write_log(const char *directory, const char *text, size_t size) {
        _cleanup_free_ char *path = text_format("%s/" CONSOLE_LOG, directory);

        assert_int_equal(file_write(path, text, size, 0600, false, NULL), 0);
}

static void test_begin_run(void **state) {
        char *directory = harness_make_directory();
        _cleanup_free_ char *path = text_format("%s/" CONSOLE_LOG, directory);
        _cleanup_free_ char *old = text_format("%s/" CONSOLE_LOG_OLD, directory), *text = NULL;
        size_t size;

        assert_int_equal(console_begin_run(directory), 0);
        assert_int_equal(access(path, F_OK), 0);
        assert_int_equal(access(old, F_OK), -1);
        write_log(directory, "first run", 9);
        for (int i = 0; i < 2; i++) { /* a run without a word in between */
                assert_int_equal(console_begin_run(directory), 0);
                assert_int_equal(console_log_size(directory), 0);
        }
        assert_int_equal(file_read(old, 100, &text, &size, NULL), 0);
        assert_string_equal(text, "first run");
        assert_true(console_begin_run("/nowhere") < 0);
        harness_remove_directory(directory);
}

/* The two files together are all that there was, whichever way the file system allows. */
static void test_rotate(void **state) {
        static const size_t sizes[] = { 1, 4095, 4096, 4097, 100000 };
        char *directory = harness_make_directory();
        _cleanup_free_ char *path = text_format("%s/" CONSOLE_LOG, directory);
        _cleanup_free_ char *old = text_format("%s/" CONSOLE_LOG_OLD, directory);
        _cleanup_free_ char *data = malloc(100000);

        for (size_t i = 0; i < 100000; i++)
                data[i] = (char)('a' + i % 26);
        assert_int_equal(console_log_rotate(directory, UINT64_MAX), 0); /* none there */
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                _cleanup_free_ char *head = NULL, *tail = NULL;
                size_t head_size, tail_size;

                write_log(directory, data, sizes[i]);
                assert_int_equal(console_log_rotate(directory, UINT64_MAX), 0);
                assert_int_equal(file_read(old, 200000, &head, &head_size, NULL), 0);
                assert_int_equal(file_read(path, 200000, &tail, &tail_size, NULL), 0);
                assert_true(tail_size <= 4096);
                assert_int_equal(head_size + tail_size, sizes[i]);
                assert_memory_equal(head, data, head_size);
                assert_memory_equal(tail, data + head_size, tail_size);
        }

        /* One that grew and grew while nobody looked holds nobody up for long. */
        _cleanup_free_ char *end = NULL, *rest = NULL;
        size_t end_size, rest_size;
        write_log(directory, data, 100000);
        assert_int_equal(console_log_rotate(directory, 10000), 0);
        assert_int_equal(file_read(old, 200000, &end, &end_size, NULL), 0);
        assert_int_equal(file_read(path, 200000, &rest, &rest_size, NULL), 0);
        assert_int_equal(end_size + rest_size, 10000);
        assert_memory_equal(end, data + 90000, end_size);
        assert_memory_equal(rest, data + 90000 + end_size, rest_size);
        harness_remove_directory(directory);
}

static void test_tail(void **state) {
        static const struct {
                const char *text;
                size_t lines;
                const char *json;
        } cases[] = {
                { "", 5, "[]" },
                { "one\r\ntwo\r\n\r\nthree", 5, "[\"one\",\"two\",\"three\"]" },
                { "one\ntwo\nthree\n", 2, "[\"two\",\"three\"]" },
                { "one\n", 0, "[]" },
                { "\x1b[1;31mred\x1b[0m\tblack\a\n\x1b]0;title\aafter\x1b"
                  "c!\n",
                  5, "[\"red black\",\"after!\"]" },
                { "caf\xc3\xa9 \n\xff\xfe raw\n", 5, "[\"caf\xc3\xa9 \",\"?? raw\"]" },
                { "a\xc2\x9b"
                  "31mb\xc2\xa9\n\xc2\x01\x9b\n\xc2\xc2\x9b\x9b\nc",
                  5, "[\"a31mb\xc2\xa9\",\"c\"]" },
                { "\x1b[", 5, "[]" },
                { "\x1b", 5, "[]" },
                { "\"quoted\"\\", 5, "[\"\\\"quoted\\\"\\\\\"]" },
        };
        char *directory = harness_make_directory();
        json_auto_t *none = console_tail(directory, 5);

        assert_int_equal(json_array_size(none), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                write_log(directory, cases[i].text, strlen(cases[i].text));
                json_auto_t *tail = console_tail(directory, cases[i].lines);
                _cleanup_free_ char *json = json_dumps(tail, JSON_COMPACT);
                assert_string_equal(json, cases[i].json);
        }
        harness_remove_directory(directory);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* Of another program, which goes on appending. */
static void test_bound(void **state) {
        _cleanup_free_ char *line = NULL, *text = NULL;
        char *directory = harness_make_directory();
        size_t size, n = 0;

        char *path = text_format("%s/x.log", directory);
        assert_int_equal(log_file_bound(directory, "x.log", 10), 0); /* none is in bounds */
        _cleanup_fd_ int writer = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        assert_true(writer >= 0);
        for (; n < LOG_FILE_KEPT + 1000; n += 10)
                assert_int_equal(write(writer, "123456789\n", 10), 10);
        assert_int_equal(log_file_bound(directory, "x.log", n), 0);
        assert_int_equal(file_read(path, n, &text, &size, NULL), 0);
        assert_int_equal(size, n);
        free(text);

        assert_int_equal(log_file_bound(directory, "x.log", n - 1), 0);
        assert_int_equal(write(writer, "later\n", 6), 6);
        assert_int_equal(file_read(path, n, &text, &size, NULL), 0);
        assert_in_range(size, LOG_FILE_KEPT - 10, LOG_FILE_KEPT + 6);
        assert_memory_equal(text, "123456789\n", 10);
        assert_memory_equal(text + size - 16, "123456789\nlater\n", 16);

        /* One without lines is no exception. */
        line = calloc(1, LOG_FILE_KEPT);
        assert_int_equal(ftruncate(writer, 0), 0);
        for (int i = 0; i < 2; i++)
                assert_int_equal(write(writer, memset(line, 'x', LOG_FILE_KEPT), LOG_FILE_KEPT),
                                 LOG_FILE_KEPT);
        assert_int_equal(log_file_bound(directory, "x.log", LOG_FILE_KEPT), 0);
        free(text);
        assert_int_equal(file_read(path, 2 * LOG_FILE_KEPT, &text, &size, NULL), 0);
        assert_int_equal(size, LOG_FILE_KEPT);
        free(path);
        harness_remove_directory(directory);
}

HARNESS_MAIN(TEST(test_viewers), TEST(test_next_run), TEST(test_adoption), TEST(test_full_queue),
             TEST(test_slow_viewer), TEST(test_slow_qemu), TEST(test_too_many_viewers),
             cmocka_unit_test_setup_teardown(test_rotation, setup_small, teardown),
             cmocka_unit_test(test_begin_run), cmocka_unit_test(test_rotate), cmocka_unit_test(test_tail),
             cmocka_unit_test(test_bound))
