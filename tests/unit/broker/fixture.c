#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "harness.h"
#include "loop/loop.h"

#define TIMEOUT_MS 60000

/* Networks outlive their broker, and here not the test: those that lost their broker are our children then,
 * as fixture_setup has made us their reaper. */
static void end_orphans(void) {
        for (;;) {
                _cleanup_free_ char *path = text_format("/proc/self/task/%d/children", getpid());
                _cleanup_free_ char *children = NULL;
                size_t size;

                assert_int_equal(file_read(path, 1 << 16, &children, &size, NULL), 0);
                if (size == 0)
                        return;
                pid_t pid = (pid_t)strtol(children, NULL, 10);
                kill(pid, SIGKILL);
                assert_int_equal(waitpid(pid, NULL, 0), pid);
        }
}

int fixture_setup(void **state) {
        struct fixture *fixture = calloc(1, sizeof(*fixture));
        char *path;

        assert_non_null(fixture);
        assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
        fixture->directory = harness_make_directory();
        fixture->socket = text_format("%s/run/broker.sock", fixture->directory);
        /* Where berthd looks for what no option names. */
        setenv("XDG_RUNTIME_DIR", fixture->directory, 1);
        setenv("HOME", fixture->directory, 1);
        path = text_format("%s/networks.d", fixture->directory);
        assert_int_equal(file_make_directory(path, 0755, NULL), 0);
        free(path);
        fixture_start(fixture, (const char *const[]){ "--idle-timeout", "60", NULL });
        *state = fixture;
        return 0;
}

int fixture_teardown(void **state) {
        struct fixture *fixture = *state;

        /* Ends as it should, whatever the test did to it; under the sanitizers that includes having freed
         * all. */
        if (fixture->broker)
                assert_int_equal(fixture_stop(fixture, SIGTERM), 0);
        end_orphans();
        harness_remove_directory(fixture->directory);
        free(fixture->socket);
        free(fixture);
        return 0;
}

static void run(struct fixture *fixture, const char *const *options, int ready) {
        char *state = text_format("%s/state", fixture->directory);
        char *definitions = text_format("%s/networks.d", fixture->directory);
        char *number = text_format("%d", ready);
        const char *arguments[32] = {
                BERTHD,          "--foreground", "--socket",          fixture->socket, "--state",    state,
                "--definitions", definitions,    "--network-program", STAND_IN,        "--ready-fd", number,
        };
        size_t n = 12;

        while (options && *options)
                arguments[n++] = *options++;
        /* The log of the broker is of interest only to a person with a failing test. */
        if (!getenv("BERTH_TEST_LOG")) {
                int null = open("/dev/null", O_WRONLY);
                dup2(null, 2);
        }
        fd_set_cloexec(ready, false);
        signal(SIGCHLD, SIG_IGN); /* as some starters leave it */
        execv(BERTHD, (char *const *)arguments);
        _exit(127);
}

/* A child that closes something for a broker that was killed has its lock, too, a moment longer. */
static void wait_for_lock(const struct fixture *fixture) {
        _cleanup_free_ char *path = text_format("%s/run/berthd.lock", fixture->directory);

        if (access(path, F_OK) == 0)
                fd_close(file_lock(path, true, NULL));
}

void fixture_try(struct fixture *fixture, const char *const *options, char line[static 256]) {
        int ready[2];

        memset(line, 0, 256);
        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        fixture->broker = fork();
        assert_true(fixture->broker >= 0);
        if (fixture->broker == 0)
                run(fixture, options, ready[1]);
        close(ready[1]);
        /* To its end, so that the broker has closed its side when tests count descriptors. */
        for (size_t n = 0; read(ready[0], line + n, 1) == 1 && n < 254;)
                n++;
        close(ready[0]);
}

void fixture_start(struct fixture *fixture, const char *const *options) {
        char line[256];

        wait_for_lock(fixture);
        fixture_try(fixture, options, line);
        assert_string_equal(line, "ready\n");
}

int fixture_stop(struct fixture *fixture, int signal) {
        int status;

        if (signal)
                assert_int_equal(kill(fixture->broker, signal), 0);
        assert_int_equal(waitpid(fixture->broker, &status, 0), fixture->broker);
        fixture->broker = 0;
        return status;
}

void fixture_define(struct fixture *fixture, const char *name, const char *text) {
        char *path = text_format("%s/networks.d/%s.json", fixture->directory, name);

        assert_int_equal(file_write(path, text, strlen(text), 0644, false, NULL), 0);
        free(path);
}

bool fixture_has_file(struct fixture *fixture, const char *rest) {
        char *path = text_format("%s/%s", fixture->directory, rest);
        bool there = access(path, F_OK) == 0;

        free(path);
        return there;
}

struct wire *fixture_connect(struct fixture *fixture) {
        struct wire *wire;

        int fd = fd_connect_unix(fixture->socket);
        assert_true(fd >= 0);
        assert_int_equal(wire_new(&wire, fd), 0);
        return wire;
}

void receive_reply(struct wire *wire, struct wire_message *ret) {
        struct pollfd p = { .fd = wire_fd(wire), .events = POLLIN };
        int r;

        while ((r = wire_receive(wire, ret, NULL)) == WIRE_AGAIN)
                assert_int_equal(poll(&p, 1, TIMEOUT_MS), 1);
        assert_int_equal(r, WIRE_MESSAGE);
}

void ask(struct wire *wire, const char *command, const char *name, struct wire_message *ret) {
        json_auto_t *body = json_pack("{ss ss*}", "command", command, "network_name", name);

        assert_int_equal(wire_send(wire, body, NULL, 0), 0);
        receive_reply(wire, ret);
}

json_t *ask_once(struct fixture *fixture, const char *command, const char *name) {
        struct wire *wire = fixture_connect(fixture);
        struct wire_message reply;

        ask(wire, command, name, &reply);
        json_t *body = json_incref(reply.body);
        wire_message_deinit(&reply);
        wire_free(wire);
        return body;
}

struct wire *acquire(struct wire *client, const char *name, json_int_t *ret_lease) {
        struct wire_message reply;
        struct wire *handle;

        ask(client, "acquire", name, &reply);
        if (reply.n_fds != 1)
                fail_msg("acquire %s: %s", name, json_string_value(json_object_get(reply.body, "message")));
        assert_null(json_object_get(reply.body, "error"));
        json_t *network = json_object_get(reply.body, "network");
        assert_string_equal(json_string_value(json_object_get(network, "name")), name);
        if (ret_lease)
                *ret_lease = json_integer_value(json_object_get(network, "lease"));
        assert_int_equal(wire_new(&handle, wire_message_take_fd(&reply, 0)), 0);
        wire_message_deinit(&reply);
        return handle;
}

pid_t handle_server(struct wire *handle, json_int_t *ret_lease) {
        struct wire_message reply;

        ask(handle, "network", NULL, &reply);
        pid_t pid = (pid_t)json_integer_value(json_object_get(reply.body, "pid"));
        if (ret_lease)
                *ret_lease = json_integer_value(json_object_get(reply.body, "lease"));
        wire_message_deinit(&reply);
        assert_true(pid > 0);
        return pid;
}

int error_of(json_t *body) {
        json_t *error = json_object_get(body, "error");

        if (!error)
                return 0;
        assert_int_equal(json_object_size(body), 2);
        assert_true(json_string_length(json_object_get(body, "message")) > 0);
        return (int)json_integer_value(error);
}

void expect_error(struct wire *wire, const char *command, const char *name, int code) {
        struct wire_message reply;

        ask(wire, command, name, &reply);
        assert_int_equal(error_of(reply.body), code);
        assert_int_equal(reply.n_fds, 0);
        wire_message_deinit(&reply);
}

bool is_late(json_t *network) {
        return text_equal(json_string_value(json_object_get(network, "message")),
                          "the network's process did not answer within a second");
}

json_t *fixture_network(struct fixture *fixture, const char *name) {
        json_auto_t *body = ask_once(fixture, "list", NULL);
        json_t *networks = json_object_get(body, "networks"), *network, *found = NULL;
        size_t i;

        assert_true(json_is_array(networks));
        json_array_foreach(networks, i, network)
                if (text_equal(json_string_value(json_object_get(network, "name")), name))
                        found = json_incref(network);
        return found;
}

pid_t fixture_network_pid(struct fixture *fixture, const char *name) {
        json_auto_t *network = fixture_network(fixture, name);

        return (pid_t)json_integer_value(json_object_get(network, "pid"));
}

void wait_for_leases(struct fixture *fixture, const char *name, int n) {
        uint64_t deadline = loop_now() + 1000ULL * TIMEOUT_MS;
        int found;

        do {
                json_auto_t *network = fixture_network(fixture, name);
                found = network ? (int)json_array_size(json_object_get(network, "clients")) : -1;
        } while (found != n && loop_now() < deadline);
        assert_int_equal(found, n);
}

void wait_for_end(int fd) {
        char bytes[4096];
        struct pollfd p = { .fd = fd, .events = POLLIN };

        for (;;) {
                assert_int_equal(poll(&p, 1, TIMEOUT_MS), 1);
                ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
                if (n == 0 || (n < 0 && errno == ECONNRESET))
                        return;
                assert_true(n > 0);
        }
}

int is_open(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLRDHUP };

        return poll(&p, 1, 0) == 0;
}
