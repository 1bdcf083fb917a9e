/* berth vm exec --agent: commands by an agent that is played here, as QEMU lets one be reached. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/fd.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "fixture.h"

#define OUTPUT_MAX (16UL * 1024 * 1024) /* bytes of each output that an agent keeps */

/* What the guest does beyond running commands, each of which prints its first argument. */
enum twist {
        NONE,
        MUCH, /* a command prints all that the agent keeps, and more */
        END, /* QEMU ends when it is asked what became of a command */
        END_BEFORE, /* the same when one is to begin */
};

static void say(int fd, const char *data, size_t size) {
        while (size > 0) {
                ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

                if (n <= 0)
                        return;
                data += n;
                size -= (size_t)n;
        }
}

static void say_json(int fd, json_t *consume_value) {
        json_auto_t *answer = json_pack("{s:o}", "return", consume_value);
        _cleanup_free_ char *text = json_dumps(answer, JSON_COMPACT);

        say(fd, text, strlen(text));
        say(fd, "\n", 1);
}

/* The next line as JSON, without the delimiter before it; NULL at the end. */
static json_t *hear(int fd) {
        char line[65536];
        size_t n = 0;

        while (n + 1 < sizeof(line) && recv(fd, line + n, 1, 0) == 1 && line[n] != '\n')
                n += line[n] != '\xff';
        return n > 0 ? json_loadb(line, n, 0, NULL) : NULL;
}

static json_t *describe_end(enum twist twist, const char *printed) {
        size_t size = twist == MUCH ? OUTPUT_MAX : strlen(printed);
        _cleanup_free_ char *data = malloc(size + 1), *text = NULL;
        json_t *status;

        memcpy(data, printed, strlen(printed));
        if (twist == MUCH)
                memset(data, 'x', size);
        text = base64_encode(data, size);
        status = json_pack("{s:b, s:i, s:s, s:s}", "exited", 1, "exitcode", 0, "out-data", text, "err-data",
                           twist == MUCH ? text : "");
        if (twist == MUCH)
                json_object_set_new(status, "err-truncated", json_true());
        return status;
}

/* One client, as qemu-ga answers him. */
static void serve(int fd, enum twist twist, json_t *commands) {
        for (;;) {
                json_auto_t *request = hear(fd);
                const char *name = json_string_value(json_object_get(request, "execute"));
                const json_t *arguments = json_object_get(request, "arguments");

                if (!name)
                        return;
                if (text_equal(name, "guest-sync-delimited")) {
                        say(fd, "\xff", 1);
                        say_json(fd, json_incref(json_object_get(arguments, "id")));
                } else if (text_equal(name, "guest-exec")) {
                        if (twist == END_BEFORE)
                                _exit(0);
                        json_array_append(commands, json_array_get(json_object_get(arguments, "arg"), 0));
                        say_json(fd, json_pack("{s:I}", "pid", (json_int_t)json_array_size(commands)));
                } else if (text_equal(name, "guest-exec-status")) {
                        json_int_t pid = json_integer_value(json_object_get(arguments, "pid"));

                        if (twist == END)
                                _exit(0);
                        say_json(fd, describe_end(twist, json_string_value(
                                                                 json_array_get(commands, (size_t)pid - 1))));
                } else {
                        say_json(fd, json_object());
                }
        }
}

/* QEMU and the agent behind it: a process that serves one client at a time. */
__attribute__((noreturn)) static void play(int listener, enum twist twist) {
        json_t *commands = json_array();

        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
        for (;;) {
                int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

                serve(fd, twist, commands);
                fd_close(fd);
        }
}

/* A VM whose QEMU is the process *ret, and which has a vmhost that listens: to be closed. */
static int begin(struct fixture *fixture, enum twist twist, pid_t *ret) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        uint64_t start_time;
        char boot_id[37];
        int listener;

        fixture_make_vm(fixture, "web");
        path = fixture_path(fixture, "web", "agent.sock");
        listener = fd_listen_unix(path, 0600);
        assert_true(listener >= 0);
        assert_int_equal(listen(listener, 1), 0); /* as QEMU */
        fd_set_nonblock(listener, false);
        *ret = fork();
        assert_true(*ret >= 0);
        if (*ret == 0)
                play(listener, twist);
        fd_close(listener);
        assert_int_equal(process_boot_id(boot_id), 0);
        assert_int_equal(process_start_time(*ret, &start_time), 0);
        text = text_format(
                "{\"phase\":\"running\",\"run\":{\"pid\":%d,\"start_time\":%llu,\"boot_id\":\"%s\"}}",
                (int)*ret, (unsigned long long)start_time, boot_id);
        fixture_write(fixture, "web", "state.json", text);
        return fixture_listen(fixture, "web");
}

static void end(pid_t guest) {
        kill(guest, SIGKILL);
        waitpid(guest, NULL, 0);
}

/* More at once than QEMU lets wait: each gets what its own command printed. */
static void test_several(void **state) {
        struct fixture *fixture = fixture_new(), others[7];
        pid_t guest;
        int vmhost = begin(fixture, NONE, &guest);
        char words[ARRAY_SIZE(others)][16];

        for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
                others[i] = (struct fixture){ .config = fixture->config, .output = -1 };
                snprintf(words[i], sizeof(words[i]), "word %zu", i);
                fixture_start(&others[i], ARGUMENTS("vm", "exec", "--agent", "web", "--", "echo", words[i]));
        }
        for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
                int status;
                _cleanup_free_ char *output = fixture_finish(&others[i], &status);

                assert_string_equal(output, words[i]);
                assert_int_equal(status, 0);
                fd_close(others[i].output);
        }
        end(guest);
        fd_close(vmhost);
        fixture_free(fixture);
}

/* What the agent kept is printed, and that it was not all is said. */
static void test_much(void **state) {
        struct fixture *fixture = fixture_new();
        pid_t guest;
        int vmhost = begin(fixture, MUCH, &guest), status;
        _cleanup_free_ char *text = malloc(65536);
        size_t n_printed = 0;
        char said[1024] = "";

        fixture_start(fixture, ARGUMENTS("vm", "exec", "--agent", "web", "--", "yes", "x"));
        for (;;) {
                ssize_t n;

                fixture_wait_readable(fixture->output);
                n = read(fixture->output, text, 65536);
                assert_true(n >= 0);
                if (n == 0)
                        break;
                for (ssize_t i = 0; i < n; i++)
                        if (text[i] == 'x' && !said[0])
                                n_printed++;
                        else if (strlen(said) < sizeof(said) - 1)
                                said[strlen(said)] = text[i];
        }
        assert_int_equal(n_printed, 2 * OUTPUT_MAX);
        assert_non_null(strstr(said,
                               "web: the command printed more than the guest agent keeps, and the rest is "
                               "lost\nberth: by ssh (without --agent) all of it comes\n"));
        assert_int_equal(waitpid(fixture->pid, &status, 0), fixture->pid);
        fixture->pid = 0;
        assert_int_equal(WEXITSTATUS(status), 125);
        end(guest);
        fd_close(vmhost);
        fixture_free(fixture);
}

/* QEMU is gone, and its vmhost still there: to write the record, or because it starts the VM again. */
static void test_end(void **state) {
        static const struct {
                enum twist twist;
                const char *text;
        } cases[] = {
                { END, "berth: VM web ended while the command ran\nberth: `berth vm show web` tells how\n" },
                { END_BEFORE, "berth: VM web ended when the command was to begin\n" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fixture *fixture = fixture_new();
                pid_t guest;
                int vmhost = begin(fixture, cases[i].twist, &guest), status;
                _cleanup_free_ char *output = NULL;

                output = fixture_run(fixture, &status,
                                     ARGUMENTS("vm", "exec", "--agent", "web", "--", "sleep", "9"));
                if (!strstr(output, cases[i].text))
                        fail_msg("%zu: %s", i, output);
                assert_int_equal(status, 125);
                end(guest);
                fd_close(vmhost);
                fixture_free(fixture);
        }
}

HARNESS_MAIN(cmocka_unit_test(test_several), cmocka_unit_test(test_much), cmocka_unit_test(test_end))
