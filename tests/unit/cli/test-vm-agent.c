/* cli/vm-agent: what a guest may say in the place of its agent, and what that costs. */
#include "harness.h"

#include <errno.h>
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

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/vm-agent.h"
#include "cli/vm-clock.h"
#include "cli/vm-directory.h"

#define PATIENCE_MS 20000 /* where an answer is due */
#define SHORT_MS 300 /* where none comes */
#define SLOW_MS 10000 /* where one comes late, and has to have begun by then */
#define SPACE (4UL * 1024 * 1024) /* bytes: worth more than a minute */

/* A guest, by what it says: "%I" is the id that it was asked to give back, "%S" a reply that is awaited
 * first, "%F" an endless flood, "%H" hanging up, "%W" much white space and then nothing for longer than
 * SLOW_MS. */
struct guest {
        char *directory;
        pid_t pid;
};

static void say(int fd, const char *data, size_t size) {
        while (size > 0) {
                ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

                if (n <= 0)
                        _exit(0);
                data += n;
                size -= (size_t)n;
        }
}

/* A line that the host sends, without the delimiter before it. */
static void hear(int fd, char *line, size_t size) {
        size_t n = 0;

        while (n + 1 < size && recv(fd, line + n, 1, 0) == 1 && line[n] != '\n')
                n++;
        line[n] = '\0';
}

__attribute__((noreturn)) static void play(int listener, const char *script) {
        char line[65536], number[32], flood[4096];
        int fd;

        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
        fd = accept(listener, NULL, NULL);

        memset(flood, 'x', sizeof(flood));
        hear(fd, line, sizeof(line));
        const char *id = strstr(line, "\"id\":");
        snprintf(number, sizeof(number), "%lld", id ? strtoll(id + 5, NULL, 10) : -1);
        for (; *script; script++) {
                if (script[0] != '%') {
                        say(fd, script, 1);
                        continue;
                }
                switch (*++script) {
                case 'I':
                        say(fd, number, strlen(number));
                        break;
                case 'S':
                        hear(fd, line, sizeof(line));
                        break;
                case 'W':
                        memset(flood, ' ', sizeof(flood));
                        for (size_t i = 0; i < SPACE; i += sizeof(flood))
                                say(fd, flood, sizeof(flood));
                        poll(NULL, 0, SLOW_MS + SHORT_MS);
                        break;
                case 'L':
                case 'F':
                        for (size_t i = 0; script[0] == 'L' && i < sizeof(flood); i += 2)
                                memcpy(flood + i, "\xff\n", 2);
                        for (;;)
                                say(fd, flood, sizeof(flood));
                default:
                        _exit(0);
                }
        }
        poll(NULL, 0, -1);
        _exit(0);
}

static struct guest begin(const char *script) {
        struct guest guest = { .directory = harness_make_directory() };
        _cleanup_free_ char *path = text_format("%s/" VM_AGENT_SOCKET, guest.directory);
        int listener = fd_listen_unix(path, 0600);

        assert_true(listener >= 0);
        fd_set_nonblock(listener, false);
        guest.pid = fork();
        assert_true(guest.pid >= 0);
        if (guest.pid == 0)
                play(listener, script);
        fd_close(listener);
        return guest;
}

static void end(struct guest *guest) {
        kill(guest->pid, SIGKILL);
        waitpid(guest->pid, NULL, 0);
        harness_remove_directory(guest->directory);
}

#define SYNC "\xff{\"return\": %I}\n%S"

static void test_answers(void **state) {
        static const struct {
                const char *script;
                int result;
                const char *text; /* a part of the error's */
        } cases[] = {
                { SYNC "{\"return\": {\"pid\": 5}}\n", 0, NULL },
                { SYNC "{\"return\": {}}\n", 0, NULL },
                /* What others left there, with all that could be taken for ours. */
                { "{\"return\": %I}\nhalf a li" SYNC "{\"return\": 1}\n", 0, NULL },
                { "\xff{\"return\": 3}\n\xff\xff\xff" SYNC "{\"return\": 1}\n", 0, NULL },
                { "\xff\n\xff[]\n\xffnonsense\n\xff{\"return\":\"%I\"}\n" SYNC "{\"return\": 1}\n", 0, NULL },
                /* Refusals, and what is none. */
                { SYNC "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"it is "
                       "\\u001b[31mdisabled\\u009b\"}}\n",
                  -EREMOTEIO, "it is ?[31mdisabled?" },
                { SYNC "{\"error\": {}}\n", -EREMOTEIO, "no reason" },
                { SYNC "{\"error\": 3}\n", -EPROTO, "is none" },
                { SYNC "{}\n", -EPROTO, "is none" },
                { SYNC "[1]\n", -EPROTO, "is none" },
                { SYNC "\xfe\n", -EPROTO, "is none" },
                { SYNC "\n", -EPROTO, "is none" },
                { SYNC "%H", -ECONNRESET, "cannot ask" },
                { "%H", -ECONNRESET, "cannot ask" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct guest guest = begin(cases[i].script);
                struct error error = ERROR_INIT;
                json_auto_t *answer = NULL;

                int r = vm_agent_ask(guest.directory, "guest-exec", json_pack("{s:s}", "path", "ls"),
                                     vm_clock_in_ms(PATIENCE_MS), &answer, &error);
                if (r != cases[i].result || (cases[i].text && !strstr(error.text, cases[i].text)))
                        fail_msg("%zu: %d, %s", i, r, error.text);
                assert_true((r == 0) == (answer != NULL));
                end(&guest);
        }
}

/* Who says nothing, or nothing that ends, costs time that was set and memory that is bounded. */
static void test_no_answer(void **state) {
        static const char *const scripts[] = {
                "",
                "%L",
                "%F",
                "\xff%F",
                "\xff{\"return\": %I}",
                SYNC,
                SYNC "{\"return\":",
                "{\"return\": %I}\n",
                "\xff{\"return\": 1%I}\n",
        };

        for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
                struct guest guest = begin(scripts[i]);
                struct error error = ERROR_INIT;
                json_auto_t *answer = NULL;

                int r = vm_agent_ask(guest.directory, "guest-ping", NULL, vm_clock_in_ms(SHORT_MS), &answer,
                                     &error);
                /* The flood behind a delimiter may be over its limit before its time. */
                if (r != -ETIMEDOUT && !(r == -EPROTO && strstr(scripts[i], "%F")))
                        fail_msg("%zu: %d, %s", i, r, error.text);
                assert_null(answer);
                end(&guest);
        }
}

static void test_endless_line(void **state) {
        struct guest guest = begin(SYNC "%F");
        struct error error = ERROR_INIT;
        json_auto_t *answer = NULL;

        assert_int_equal(
                vm_agent_ask(guest.directory, "guest-ping", NULL, vm_clock_in_ms(60000), &answer, &error),
                -EPROTO);
        assert_non_null(strstr(error.text, "without an end"));
        end(&guest);
}

/* A long answer takes its time, and is not lost for that. */
static void test_slow(void **state) {
        struct guest guest = begin(SYNC "{\"return\":%W 5}\n");
        struct error error = ERROR_INIT;
        json_auto_t *answer = NULL;

        assert_int_equal(vm_agent_ask(guest.directory, "guest-exec-status", NULL, vm_clock_in_ms(SLOW_MS),
                                      &answer, &error),
                         0);
        assert_int_equal(json_integer_value(answer), 5);
        end(&guest);
}

static void test_nobody(void **state) {
        char *directory = harness_make_directory();
        _cleanup_free_ char *path = text_format("%s/" VM_AGENT_SOCKET, directory);
        struct error error = ERROR_INIT;
        json_auto_t *answer = NULL;

        assert_int_equal(
                vm_agent_ask(directory, "guest-ping", NULL, vm_clock_in_ms(SHORT_MS), &answer, &error),
                -ENOENT);
        fd_close(fd_listen_unix(path, 0600));
        assert_int_equal(
                vm_agent_ask(directory, "guest-ping", NULL, vm_clock_in_ms(SHORT_MS), &answer, &error),
                -ECONNREFUSED);
        harness_remove_directory(directory);
}

HARNESS_MAIN(cmocka_unit_test(test_answers), cmocka_unit_test(test_no_answer),
             cmocka_unit_test(test_endless_line), cmocka_unit_test(test_slow), cmocka_unit_test(test_nobody))
