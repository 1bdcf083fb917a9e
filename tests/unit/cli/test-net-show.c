/* berth net show, berth net ls: what a listing does not have is not said to be none. */
#include "harness.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "wire/wire.h"

#define DEADLINE_MS 60000
#define NETWORK                                                                                              \
        "{\"name\":\"lan\",\"mode\":\"shared\",\"state\":\"running\",\"subnet\":\"192.168.64.0\","           \
        "\"mask\":\"255.255.255.0\",\"gateway\":\"192.168.64.1\",\"mtu\":1500"
#define TOO_LONG ",\"message\":\"the whole answer is too long\\u001b[31m for one line\""
#define LIST(network) "{\"networks\":[" NETWORK network "}],\"definitions\":[]}"

static void wait_for(int fd) {
        struct pollfd pollfd = { .fd = fd, .events = POLLIN };

        assert_int_equal(poll(&pollfd, 1, DEADLINE_MS), 1);
}

/* What `berth net WORD [lan]` prints when the broker answers with this list: to be freed. */
static char *show(const char *word, const char *list) {
        _cleanup_(wire_message_deinit) struct wire_message message = WIRE_MESSAGE_INIT;
        _cleanup_(wire_freep) struct wire *broker = NULL;
        char *directory = harness_make_directory(), *text = calloc(1, 65536);
        _cleanup_free_ char *path = text_format("%s/broker.sock", directory);
        _cleanup_fd_ int listener = fd_listen_unix(path, 0600);
        json_auto_t *body = json_loads(list, 0, NULL);
        size_t used = 0;
        int fds[2], status, r;

        assert_true(listener >= 0);
        assert_non_null(body);
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                setenv("BERTH_SOCKET", path, 1);
                dup2(fds[1], STDOUT_FILENO);
                dup2(fds[1], STDERR_FILENO);
                execl(BERTH, BERTH, "net", word, text_equal(word, "show") ? "lan" : NULL, NULL);
                _exit(99);
        }
        fd_close(fds[1]);
        wait_for(listener);
        assert_int_equal(wire_new(&broker, accept4(listener, NULL, NULL, SOCK_CLOEXEC)), 0);
        while ((r = wire_receive(broker, &message, NULL)) == WIRE_AGAIN)
                wait_for(wire_fd(broker));
        assert_int_equal(r, WIRE_MESSAGE);
        assert_int_equal(wire_send(broker, body, NULL, 0), 0);
        for (;;) {
                wait_for(fds[0]);
                ssize_t n = read(fds[0], text + used, 65535 - used);
                assert_true(n >= 0);
                if (n == 0)
                        break;
                used += (size_t)n;
        }
        fd_close(fds[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WEXITSTATUS(status), 0);
        harness_remove_directory(directory);
        return text;
}

static void test_show(void **state) {
        static const struct {
                const char *list;
                const char *present[3], *absent[3];
        } cases[] = {
                { LIST(",\"clients\":[],\"interfaces\":[],\"forwards\":[]"),
                  { "\nNo clients.\n", "\nNo interfaces.\n" },
                  { "left out", "not known", "orwards" } },
                { LIST(",\"interfaces\":[],\"left_out\":[\"forwards\",\"clients\"]" TOO_LONG),
                  { "\nClients are left out: the whole answer is too long?[31m for one line\n",
                    "\nForwards are left out: the whole answer is too long?[31m for one line\n",
                    "\nNo interfaces.\n" },
                  { "No clients", "not known" } },
                { LIST(",\"clients\":[],\"forwards\":[],\"left_out\":[\"interfaces\"]"),
                  { "\nInterfaces are left out\n", "\nNo clients.\n" },
                  { "No interfaces", "orwards" } },
                { LIST(",\"clients\":[],\"message\":\"the network's process is not ready\""),
                  { "\nInterfaces are not known: the network's process is not ready\n",
                    "\nForwards are not known: the network's process is not ready\n" },
                  { "left out" } },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *text = show("show", cases[i].list);

                for (size_t j = 0; j < 3 && cases[i].present[j]; j++)
                        if (!strstr(text, cases[i].present[j]))
                                fail_msg("%zu: no \"%s\" in: %s", i, cases[i].present[j], text);
                for (size_t j = 0; j < 3 && cases[i].absent[j]; j++)
                        if (strstr(text, cases[i].absent[j]))
                                fail_msg("%zu: \"%s\" in: %s", i, cases[i].absent[j], text);
        }
}

static void test_ls(void **state) {
        _cleanup_free_ char *text = show("ls",
                                         LIST(",\"interfaces\":[],\"left_out\":[\"clients\"]" TOO_LONG));

        if (!strstr(text, "  ?           0  running"))
                fail_msg("%s", text);
}

HARNESS_MAIN(cmocka_unit_test(test_show), cmocka_unit_test(test_ls))
