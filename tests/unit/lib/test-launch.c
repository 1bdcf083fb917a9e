/* lib/launch: a broker is started once, in a clean state, and its failure is told. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "lib/launch.h"

#define RACERS 8
/* What the stand-in notes at a start as it should be. */
#define CLEAN "--user session=own stdio=open notify=unset inherited=closed\n"

static int setup(void **state) {
        _cleanup_free_ char *session = NULL;
        static struct place place;

        place.runtime = harness_make_directory();
        place.broker_socket = text_format("%s/broker.sock", place.runtime);
        assert_non_null(place.broker_socket);
        session = text_format("%d", (int)getsid(0));
        assert_non_null(session);
        setenv("STANDIN_DIRECTORY", place.runtime, 1);
        setenv("STANDIN_SESSION", session, 1);
        *state = &place;
        return 0;
}

static int teardown(void **state) {
        struct place *place = *state;

        unsetenv("STANDIN_FAILURE");
        free(place->broker_socket);
        harness_remove_directory(place->runtime);
        return 0;
}

static char *read_file(const struct place *place, const char *name) {
        _cleanup_free_ char *path = text_format("%s/%s", place->runtime, name);
        char *text = NULL;
        size_t size;

        assert_int_equal(file_read(path, 65536, &text, &size, NULL), 0);
        return text;
}

/* Ends the stand-in over this connection, and waits until it has gone. */
static void quit(int fd) {
        char byte;

        assert_int_equal(write(fd, "q", 1), 1);
        assert_int_equal(read(fd, &byte, 1), 0);
        fd_close(fd);
}

static void test_starts_once(void **state) {
        struct place *place = *state;
        _cleanup_free_ char *starts = NULL;
        pid_t racers[RACERS];
        int fd;

        /* What a caller has open and set must not reach the broker. */
        setenv("NOTIFY_SOCKET", "/nowhere", 1);
        fd = open("/dev/null", O_RDONLY);
        assert_int_equal(dup2(fd, 9), 9);
        fd_close(fd);

        for (size_t i = 0; i < RACERS; i++) {
                racers[i] = fork();
                assert_true(racers[i] >= 0);
                if (racers[i] == 0)
                        _exit(launch_connect(place, STANDIN, NULL) >= 0 ? 0 : 1);
        }
        for (size_t i = 0; i < RACERS; i++) {
                int status;

                assert_int_equal(waitpid(racers[i], &status, 0), racers[i]);
                assert_int_equal(status, 0);
        }
        close(9);
        unsetenv("NOTIFY_SOCKET");
        starts = read_file(place, "starts");
        assert_string_equal(starts, CLEAN);

        fd = launch_connect(place, STANDIN, NULL); /* it runs: nothing is started */
        assert_true(fd >= 0);
        quit(fd);
        free(starts);
        starts = read_file(place, "starts");
        assert_string_equal(starts, CLEAN);
}

/* A socket file that a killed broker left. */
static void test_replaces_stale(void **state) {
        struct place *place = *state;
        int fd = fd_listen_unix(place->broker_socket, 0600);

        assert_true(fd >= 0);
        fd_close(fd);
        assert_int_equal(fd_connect_unix(place->broker_socket), -ECONNREFUSED);
        fd = launch_connect(place, STANDIN, NULL);
        assert_true(fd >= 0);
        quit(fd);
}

static void test_system(void **state) {
        struct place *place = *state;
        _cleanup_free_ char *starts = NULL;
        int fd;

        place->system = true;
        fd = launch_connect(place, STANDIN, NULL);
        place->system = false;
        assert_true(fd >= 0);
        quit(fd);
        starts = read_file(place, "starts");
        assert_true(text_starts_with(starts, "--system "));
}

static void test_failures(void **state) {
        struct place *place = *state;
        _cleanup_free_ char *log = NULL;
        struct error error = ERROR_INIT;

        setenv("STANDIN_FAILURE", "text", 1);
        assert_int_equal(launch_connect(place, STANDIN, &error), -ECHILD);
        assert_non_null(strstr(error.text, "did not start: no room"));
        setenv("STANDIN_FAILURE", "silent", 1);
        assert_int_equal(launch_connect(place, STANDIN, &error), -ECHILD);
        assert_non_null(strstr(error.text, "berthd.log"));
        log = read_file(place, "berthd.log");
        assert_string_equal(log, "to the log\n");

        assert_int_equal(launch_connect(place, "/nowhere/berthd", &error), -ECHILD);
        assert_non_null(strstr(error.text, "no such program"));
        setenv("BERTH_BROKER", "/nowhere/named", 1); /* counts before what the caller says */
        assert_int_equal(launch_connect(place, STANDIN, &error), -ECHILD);
        assert_non_null(strstr(error.text, "/nowhere/named"));
        unsetenv("BERTH_BROKER");
}

/* A caller that ignores SIGCHLD has its children reaped by the kernel; one that closed stdio gets its
 * numbers. */
static void test_odd_callers(void **state) {
        struct place *place = *state;
        _cleanup_free_ char *starts = NULL;
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                signal(SIGCHLD, SIG_IGN);
                close(STDIN_FILENO);
                close(STDOUT_FILENO);
                close(STDERR_FILENO);
                status = launch_connect(place, STANDIN, NULL);
                _exit(status >= 0 && write(status, "q", 1) == 1 && read(status, &status, 1) == 0 ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        starts = read_file(place, "starts");
        assert_string_equal(starts, CLEAN);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

HARNESS_MAIN(TEST(test_starts_once), TEST(test_replaces_stale), TEST(test_system), TEST(test_failures),
             TEST(test_odd_callers))
