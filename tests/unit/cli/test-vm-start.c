/* berth vm start: its vmhost is a script, or is played by hand. */
#include "harness.h"

#include <poll.h>
#include <pty.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "fixture.h"
#include "loop/loop.h"
#include "ssh-server.h"

static void test_start_fails(void **state) {
        static const struct {
                const char *script, *expected;
        } cases[] = {
                { "echo 'vmhost: config.json:3: what?' >&2; exit 1",
                  "VM web did not start: config.json:3: what?\n" },
                { "echo 'vmhost: a'; echo 'vmhost: there is no room' >&2; echo 'make some' >&2; exit 1",
                  "VM web did not start: there is no room\nberth: make some\n" },
                { "echo first >&2; echo last >&2; exit 5", "VM web did not start: last\n" },
                { "exit 1", "its vmhost ended without a word\n" },
                { "kill -9 $$", "its vmhost ended without a word\n" },
        };
        struct fixture *fixture = *state;

        fixture_make_vm(fixture, "web");
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *output = NULL;
                int status;

                fixture_write_vmhost(fixture, cases[i].script);
                output = fixture_run(fixture, &status, ARGUMENTS("vm", "start", "web"));
                assert_int_equal(status, 1);
                assert_non_null(strstr(output, cases[i].expected));
        }
        setenv("BERTH_VMHOST", "/nowhere/vmhost", 1);
        {
                int status;
                _cleanup_free_ char *output = fixture_run(fixture, &status, ARGUMENTS("vm", "start", "web"));

                assert_int_equal(status, 1);
                assert_non_null(strstr(output, "BERTH_VMHOST=/nowhere/vmhost: there is no such program\n"));
        }
        {
                _cleanup_free_ char *path = text_format("%s/vmhost", fixture->config), *output = NULL;
                _cleanup_free_ char *expected = text_format(
                        "VM web did not start: cannot run %s: No such file or directory\n", path);
                int status;

                /* It is there, and what would run it is not. */
                assert_int_equal(file_write(path, "#!/nowhere\n", 11, 0755, false, NULL), 0);
                setenv("BERTH_VMHOST", path, 1);
                output = fixture_run(fixture, &status, ARGUMENTS("vm", "start", "web"));
                assert_int_equal(status, 1);
                assert_non_null(strstr(output, expected));
        }
}

/* What the caller of berth holds, a lock perhaps, does not become vmhost's. */
static void test_start_inherits_nothing(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL;
        int status;

        fixture_make_vm(fixture, "web");
        fixture_write_vmhost(fixture, "[ -e /proc/$$/fd/77 ] && echo 'vmhost: inherited' >&2; exit 1");
        assert_int_equal(dup2(STDERR_FILENO, 77), 77);
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "start", "web"));
        fd_close(77);
        assert_non_null(strstr(output, "its vmhost ended without a word\n"));
}

/* A vmhost that tells its arguments and waits, before it detaches itself or what else its script does then.
 */
struct waiting {
        int up, go; /* named pipes: the script tells that it runs, and is told to go on */
};

static struct waiting write_waiting(const struct fixture *fixture, const char *script) {
        struct waiting waiting = { fixture_make_pipe(fixture, "up"), fixture_make_pipe(fixture, "go") };
        _cleanup_free_ char *text = text_format("echo \"$@\" >%s/up; read -r line <%s/go\n%s",
                                                fixture->config, fixture->config, script);

        fixture_write_vmhost(fixture, text);
        return waiting;
}

/* Until it runs; its arguments. */
static void wait_until_up(const struct waiting *waiting, char *arguments, size_t size) {
        ssize_t n;

        fixture_wait_readable(waiting->up);
        n = read(waiting->up, arguments, size - 1);
        assert_true(n > 0);
        arguments[n] = '\0';
}

static void let_go(const struct waiting *waiting) {
        assert_int_equal(write(waiting->go, "\n", 1), 1);
}

static void end_waiting(struct waiting *waiting) {
        fd_close(waiting->up);
        fd_close(waiting->go);
}

/* Microseconds: a second reset tells of the guest when it comes within that, and one that a busy machine delayed does
 * not. */
#define AT_ONCE 700000

/* From the launch to the ssh server's greeting; then the times are told in the order in which it happened. */
static void test_start(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL, *answer = NULL, *expected = NULL;
        char arguments[4096];
        json_auto_t *result = NULL;
        const json_t *steps;
        int listener, server, events, info, status;
        uint16_t port;

        fixture_make_vm(fixture, "web");
        server = ssh_server_listen(&port);
        struct waiting waiting = write_waiting(fixture, "");
        fixture_start(fixture, ARGUMENTS("vm", "start", "web", "--wait", "ssh", "--json"));
        /* The socket is there before it detaches itself. */
        wait_until_up(&waiting, arguments, sizeof(arguments));
        listener = fixture_listen(fixture, "web");
        events = fixture_accept(listener, "{\"method\":\"events\"}");
        fixture_reply(events,
                      "{\"event\":\"phase\",\"at\":1,\"phase\":\"preparing\",\"message\":\"networks\"}");
        fixture_reply(events, "{\"event\":\"step\",\"step\":\"forwards\"}");
        fixture_reply(events, "{\"event\":\"step\",\"step\":\"qemu\"}");
        fixture_reply(events, "{\"event\":\"phase\",\"phase\":\"booting\"}");
        let_go(&waiting);
        info = fixture_accept(listener, INFO);
        answer = text_format("{\"ok\":true,\"state\":\"running\",\"ssh_port\":%u}", port);
        fixture_reply_last(info, answer);
        ssh_server_refuse(server);
        uint64_t refused;
        do {
                refused = loop_now();
                ssh_server_refuse(server);
                fixture_wait_readable(server);
        } while (loop_now() - refused >= AT_ONCE);
        ssh_server_greet(server);
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 0);
        result = json_loads(output, 0, NULL);
        assert_true(json_is_false(json_object_get(result, "was_running")));
        steps = json_object_get(result, "steps_ms");
        assert_int_equal(json_object_size(steps), 5);
        assert_true(json_integer_value(json_object_get(steps, "qemu")) <=
                    json_integer_value(json_object_get(steps, "address")));
        assert_true(json_integer_value(json_object_get(steps, "address")) <
                    json_integer_value(json_object_get(steps, "ssh")));
        expected = text_format("--name web --backend qemu --config-dir %s\n", fixture->config);
        assert_string_equal(arguments, expected);
        end_waiting(&waiting);
        fd_close(events);
        fd_close(listener);
        fd_close(server);
}

/* A stop that is under way is for good, and the start comes after it. */
static void test_start_stopping(void **state) {
        static const char stopping[] = "{\"ok\":true,\"state\":\"running\",\"phase\":\"stopping\"}";
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL, *socket = NULL, *seen = NULL;
        int listener, wait, status;

        fixture_make_vm(fixture, "web");
        socket = fixture_path(fixture, "web", "vmhost.sock");
        seen = fixture_path(fixture, "web", "seen");
        listener = fixture_listen(fixture, "web");
        fixture_write_vmhost(fixture, "echo >\"${0%/*}/vms/web/seen\"");
        fixture_start(fixture, ARGUMENTS("vm", "start", "web", "--timeout", "1"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), stopping);
        wait = fixture_accept(listener, "{\"method\":\"wait\"}");
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 1);
        assert_non_null(strstr(output, "VM web is being stopped, and that is not over; it is not started\n"));
        assert_int_equal(access(seen, F_OK), -1);
        fd_close(wait);
        free(output);

        fixture_start(fixture, ARGUMENTS("vm", "start", "web"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), stopping);
        wait = fixture_accept(listener, "{\"method\":\"wait\"}");
        unlink(socket);
        fd_close(listener);
        fixture_reply_last(wait, "{\"ok\":true,\"state\":\"stopped\",\"end\":null}");
        output = fixture_finish(fixture, &status);
        assert_string_equal(output, "");
        assert_int_equal(status, 0);
        assert_int_equal(access(seen, F_OK), 0);
}

/* Of two starts at once one is first, and the other is content. */
static void test_start_second(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL;
        char arguments[4096];
        int listener, events = -1, status;

        fixture_make_vm(fixture, "web");
        struct waiting waiting = write_waiting(
                fixture, "echo 'vmhost: VM \"web\" has a vmhost already, process 7' >&2; exit 3");
        fixture_start(fixture, ARGUMENTS("vm", "start", "web"));
        wait_until_up(&waiting, arguments, sizeof(arguments));
        let_go(&waiting);
        /* The other one gets its socket some time after its lock: it looks again. */
        wait_until_up(&waiting, arguments, sizeof(arguments));
        listener = fixture_listen(fixture, "web");
        let_go(&waiting);
        /* It may listen for events before or after it has asked for the state. */
        for (bool told = false; events < 0 || !told;) {
                char request[64] = "";
                int fd;

                fixture_wait_readable(listener);
                fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                if (read(fd, request, sizeof(request) - 1) > 0 && strstr(request, "events"))
                        events = fd;
                else if (strstr(request, "status")) {
                        fixture_reply_last(fd, RUNNING);
                        told = true;
                } else
                        fd_close(fd);
        }
        fixture_reply(events, "{\"event\":\"phase\",\"phase\":\"running\"}");
        output = fixture_finish(fixture, &status);
        assert_string_equal(output, "berth: web is running already\n");
        assert_int_equal(status, 0);
        fd_close(events);
        fd_close(listener);
        end_waiting(&waiting);
}

/* One that is up is not started, only waited for; one that ends meanwhile is not waited for. */
static void test_start_running(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL;
        int listener, events, status;

        fixture_make_vm(fixture, "web");
        setenv("BERTH_VMHOST", "/nowhere", 1);
        listener = fixture_listen(fixture, "web");
        fixture_start(fixture, ARGUMENTS("vm", "start", "web", "--wait", "running"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        events = fixture_accept(listener, "{\"method\":\"events\"}");
        fixture_reply(events, "{\"event\":\"phase\",\"phase\":\"booting\"}");
        fixture_reply(events, "{\"event\":\"phase\",\"phase\":\"running\"}");
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 0);
        assert_string_equal(output, "berth: web is running already\n");
        fd_close(events);
        free(output);

        fixture_start(fixture, ARGUMENTS("vm", "start", "web", "--wait", "running"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        events = fixture_accept(listener, "{\"method\":\"events\"}");
        fixture_write(fixture, "web", "state.json", "{\"phase\":\"failed\",\"last_end\":" LAST_END "}");
        fixture_reply(events, "{\"event\":\"phase\",\"phase\":\"booting\"}");
        fixture_reply(events, "{\"event\":\"end\",\"end\":null}");
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 1);
        assert_non_null(strstr(output, "VM web ended: QEMU was ended by signal 11 (after 5 s)\n"));
        fd_close(events);
        free(output);

        /* Its vmhost is killed, and the VM runs on: that is no end. */
        fixture_start(fixture, ARGUMENTS("vm", "start", "web", "--wait", "running"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        events = fixture_accept(listener, "{\"method\":\"events\"}");
        fixture_write_run(fixture, "web", getpid());
        fd_close(listener);
        fd_close(events);
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 1);
        assert_string_equal(output,
                            "berth: VM web runs, but its vmhost was killed\n"
                            "berth: `berth vm start web` gives it a new one, and does not disturb it\n");
}

/* One reset alone may be the end of the kernel's patience with a guest that is not there; a second one that
 * comes at once is the guest's. */
static void test_start_address(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL, *answer = NULL;
        int listener, server, events, status;
        uint16_t port;

        fixture_make_vm(fixture, "web");
        server = ssh_server_listen(&port);
        answer = text_format("{\"ok\":true,\"state\":\"running\",\"ssh_port\":%u}", port);
        listener = fixture_listen(fixture, "web");
        fixture_start(fixture, ARGUMENTS("vm", "start", "web", "--wait", "address"));
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        events = fixture_accept(listener, "{\"method\":\"events\"}");
        fixture_reply(events, "{\"event\":\"phase\",\"phase\":\"booting\"}");
        fixture_reply_last(fixture_accept(listener, INFO), answer);
        ssh_server_refuse(server);
        struct pollfd fds[] = { { .fd = process_open(fixture->pid), .events = POLLIN },
                                { .fd = server, .events = POLLIN } };
        do {
                ssh_server_refuse(server);
                assert_true(poll(fds, ARRAY_SIZE(fds), -1) > 0);
        } while (fds[1].revents); /* the one before was not at once */
        fd_close(fds[0].fd);
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 0);
        fd_close(events);
        fd_close(listener);
        fd_close(server);
}

/* On a terminal, with a key, ssh is waited for; a VM that has no port for it is up when QEMU runs. */
static void test_start_without_port(void **state) {
        struct fixture *fixture = *state;
        int listener, events, master, slave, status;
        pid_t pid;

        fixture_make_vm(fixture, "web");
        fixture_write(fixture, "web", "identities", "/nowhere/key\n");
        listener = fixture_listen(fixture, "web");
        assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                dup2(slave, STDOUT_FILENO);
                dup2(slave, STDERR_FILENO);
                execl(BERTH, BERTH, "vm", "start", "web", (char *)NULL);
                _exit(99);
        }
        fixture_reply_last(fixture_accept(listener, "{\"method\":\"status\"}"), RUNNING);
        events = fixture_accept(listener, "{\"method\":\"events\"}");
        fixture_reply(events, "{\"event\":\"phase\",\"phase\":\"booting\"}");
        fixture_reply_last(fixture_accept(listener, INFO), "{\"ok\":true,\"state\":\"running\"}");
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WEXITSTATUS(status), 0);
        fd_close(events);
        fd_close(listener);
        fd_close(master);
        fd_close(slave);
}

HARNESS_MAIN(WITH_FIXTURE(test_start_fails), WITH_FIXTURE(test_start_inherits_nothing),
             WITH_FIXTURE(test_start), WITH_FIXTURE(test_start_stopping), WITH_FIXTURE(test_start_second),
             WITH_FIXTURE(test_start_running), WITH_FIXTURE(test_start_address),
             WITH_FIXTURE(test_start_without_port))
