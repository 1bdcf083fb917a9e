/* The program `berth`, against a broker and a network that are played by hand over real sockets. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "wire/wire.h"

#define DEADLINE_MS 60000

struct world {
        char *directory;
        int listener;
        pid_t pid; /* of berth */
        int output; /* both of its streams */
        struct wire *broker; /* the connection that it made */
};

static int setup(void **state) {
        static struct world world;
        _cleanup_free_ char *path = NULL;

        world = (struct world){ .directory = harness_make_directory(), .output = -1 };
        path = text_format("%s/broker.sock", world.directory);
        world.listener = fd_listen_unix(path, 0600);
        assert_true(world.listener >= 0);
        setenv("BERTH_SOCKET", path, 1);
        *state = &world;
        return 0;
}

static int teardown(void **state) {
        struct world *world = *state;

        if (world->pid > 0) {
                kill(world->pid, SIGKILL);
                waitpid(world->pid, NULL, 0);
        }
        fd_close(world->output);
        fd_close(world->listener);
        world->broker = wire_free(world->broker);
        harness_remove_directory(world->directory);
        return 0;
}

static void wait_for(int fd, short events) {
        struct pollfd pollfd = { .fd = fd, .events = events };

        assert_int_equal(poll(&pollfd, 1, DEADLINE_MS), 1);
}

/* Starts berth with these arguments. */
static void start(struct world *world, const char *const *arguments) {
        const char *argv[32] = { BERTH };
        int fds[2];

        for (size_t i = 0; arguments[i]; i++)
                argv[i + 1] = arguments[i];
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        world->pid = fork();
        assert_true(world->pid >= 0);
        if (world->pid == 0) {
                dup2(fds[1], STDOUT_FILENO);
                dup2(fds[1], STDERR_FILENO);
                execv(BERTH, (char **)argv);
                _exit(99);
        }
        fd_close(fds[1]);
        fd_close(world->output);
        world->output = fds[0];
}

#define START(world, ...) start(world, (const char *const[]){ __VA_ARGS__, NULL })

static void accept_client(struct world *world) {
        wait_for(world->listener, POLLIN);
        world->broker = wire_free(world->broker);
        assert_int_equal(wire_new(&world->broker, accept4(world->listener, NULL, NULL, SOCK_CLOEXEC)), 0);
}

/* The next request, as text. */
static void expect(struct wire *wire, const char *text) {
        _cleanup_(wire_message_deinit) struct wire_message message = WIRE_MESSAGE_INIT;
        _cleanup_free_ char *found = NULL;
        int r;

        while ((r = wire_receive(wire, &message, NULL)) == WIRE_AGAIN)
                wait_for(wire_fd(wire), POLLIN);
        assert_int_equal(r, WIRE_MESSAGE);
        found = json_dumps(message.body, JSON_COMPACT);
        assert_string_equal(found, text);
}

static void reply(struct wire *wire, const char *text, const int *fds, size_t n_fds) {
        json_t *body = json_loads(text, 0, NULL);

        assert_non_null(body);
        assert_int_equal(wire_send(wire, body, fds, n_fds), 0);
        json_decref(body);
}

/* All that berth printed until its end, and its exit status. */
static char *finish(struct world *world, int *ret_status) {
        size_t used = 0, size = 65536;
        char *text = calloc(1, size);

        for (;;) {
                ssize_t n;

                wait_for(world->output, POLLIN);
                n = read(world->output, text + used, size - 1 - used);
                assert_true(n >= 0);
                if (n == 0)
                        break;
                used += (size_t)n;
        }
        assert_int_equal(waitpid(world->pid, ret_status, 0), world->pid);
        world->pid = 0;
        *ret_status = WEXITSTATUS(*ret_status);
        return text;
}

#define ACQUIRED(name)                                                                                       \
        "{\"network\":{\"name\":\"" name "\",\"mode\":\"shared\",\"subnet\":\"192.168.64.0\","               \
        "\"mask\":\"255.255.255.0\",\"gateway\":\"192.168.64.1\",\"mtu\":1500}}"
#define STARTED                                                                                              \
        "{\"interface\":{\"port\":\"port1\",\"name\":\"web\",\"mac\":\"02:4d:9c:01:7e:55\","                 \
        "\"address\":\"192.168.64.2\",\"ipv6_address\":\"fd1c::2\",\"mtu\":1400,\"max_packet_size\":1414,"   \
        "\"queues\":2,\"vnet_header_size\":12,\"isolated\":false}}"

/* The command gets its placeholders, its environment and its file descriptors, and holds the lease until it
 * ends. */
static void test_run(void **state) {
        static const char script[] =
                "echo ${1%%:*} $2 $3 $BERTH_NET0_MAC $BERTH_NET0_GATEWAY $BERTH_NET0_VNET_HEADER_SIZE; "
                "[ \"$BERTH_NET0_FDS\" = \"$1\" ] && [ \"$4\" = '{x}' ] && echo same; "
                "for fd in $(echo $1 | tr : ' '); do [ -e /proc/$$/fd/$fd ] && echo open; done; "
                "kill -STOP $$; exit 7";
        struct world *world = *state;
        _cleanup_(wire_freep) struct wire *network = NULL;
        _cleanup_free_ char *output = NULL;
        int handle[2], taps[2], status;
        char byte;

        START(world, "run", "--network", "lab,name=web,queues=2", "--", "sh", "-c", script, "sh",
              "{net0.fds}", "{net0.mac}", "mtu={net0.mtu}", "{x}");
        accept_client(world);
        expect(world->broker, "{\"command\":\"acquire\",\"network_name\":\"lab\"}");
        assert_int_equal(fd_socketpair(handle, false), 0);
        assert_int_equal(pipe2(taps, O_CLOEXEC), 0);
        reply(world->broker, ACQUIRED("lab"), &handle[1], 1);
        fd_close(handle[1]);
        assert_int_equal(wire_new(&network, handle[0]), 0);
        expect(network, "{\"command\":\"start\",\"name\":\"web\",\"queues\":2}");
        reply(network, STARTED, taps, 2);
        fd_close(taps[1]);

        /* It runs: the lease's two sockets and the tap are open in it, */
        assert_int_equal(waitpid(world->pid, &status, WUNTRACED), world->pid);
        assert_true(WIFSTOPPED(status));
        assert_int_equal(recv(wire_fd(world->broker), &byte, 1, MSG_DONTWAIT), -1);
        assert_int_equal(errno, EAGAIN);
        assert_int_equal(recv(wire_fd(network), &byte, 1, MSG_DONTWAIT), -1);
        assert_int_equal(errno, EAGAIN);
        assert_int_equal(kill(world->pid, SIGCONT), 0);
        output = finish(world, &status);
        assert_int_equal(status, 7);
        assert_non_null(strstr(output,
                               " 02:4d:9c:01:7e:55 mtu=1400 02:4d:9c:01:7e:55 192.168.64.1 12\nsame\nopen\n"
                               "open\n"));
        /* and end with it. */
        assert_int_equal(read(wire_fd(world->broker), &byte, 1), 0);
        assert_int_equal(read(wire_fd(network), &byte, 1), 0);
        fd_close(taps[0]);
}

static void test_run_refused(void **state) {
        struct world *world = *state;
        _cleanup_free_ char *output = NULL;
        int status;

        START(world, "run", "--", "true", "{net0.fd}");
        accept_client(world);
        expect(world->broker, "{\"command\":\"acquire\",\"network_name\":\"shared\"}");
        reply(world->broker, "{\"error\":6,\"message\":\"no /dev/net/tun\"}", NULL, 0);
        output = finish(world, &status);
        assert_int_equal(status, 125);
        assert_string_equal(output, "berth: cannot acquire network shared: no /dev/net/tun\n"
                                    "berth: `berth status` checks what a network needs of this machine\n");
}

/* Nothing is asked of a broker for what cannot run: a request would stay in the listener's queue. */
static void test_exit_statuses(void **state) {
        static const struct {
                const char *arguments[8];
                int status;
                const char *text;
        } cases[] = {
                { { "--help" }, 0, "Commands:" },
                { { "--version" }, 0, "berth " },
                { { "run", "--help" }, 0, "--network NETWORK" },
                { { "net", "--help" }, 0, "net enter" },
                { { "net" }, 2, "net show" },
                { { "nte", "ls" }, 2, "did you mean `berth net ls`?" },
                { { "run" }, 2, "the command to run is missing" },
                { { "run", "--network", "a,b", "true" }, 2, "b: unknown" },
                { { "run", "--", "true", "{net1.fd}" }, 2, "no such network" },
                { { "run", "--", "nowhere-to-be-found" }, 127, "no such program" },
                { { "run", "--", "/nowhere/at/all" }, 127, "No such file" },
                { { "run", "--", "/etc/passwd" }, 126, "Permission denied" },
                { { "run", "--", "/etc" }, 126, "directory" },
                { { "run", "--dry-run", "--", "crosvm", "run", "k" },
                  0,
                  "'tap-fd={net0.fd},mac={net0.mac}' k" },
                { { "net", "show" }, 2, "NAME is missing" },
                { { "net", "ls", "x" }, 2, "unexpected x" },
                { { "--versoin" }, 2, "unknown option --versoin; `berth --help`" },
        };
        struct world *world = *state;
        struct pollfd pollfd = { .fd = world->listener, .events = POLLIN };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *output = NULL;
                int status;

                start(world, cases[i].arguments);
                output = finish(world, &status);
                assert_int_equal(status, cases[i].status);
                assert_non_null(strstr(output, cases[i].text));
        }
        assert_int_equal(poll(&pollfd, 1, 0), 0);
}

/* Texts flow in lines that a terminal of 80 columns has. */
static void test_help_width(void **state) {
        struct world *world = *state;
        int status;

        START(world, "vm", "start", "--help");
        _cleanup_free_ char *output = finish(world, &status);
        assert_int_equal(status, 0);
        for (char *rest = output, *line; (line = strsep(&rest, "\n"));)
                assert_true(strlen(line) <= 80);
}

#define LISTED                                                                                               \
        "{\"broker\":{\"version\":\"0.1.0\",\"pid\":812,\"mode\":\"user\",\"clients\":1},\"networks\":["     \
        "{\"name\":\"shared\",\"mode\":\"shared\",\"subnet\":\"192.168.64.0\",\"mask\":\"255.255.255.0\","   \
        "\"gateway\":\"192.168.64.1\",\"mtu\":1500,\"dhcp\":true,\"state\":\"running\",\"pid\":900,"         \
        "\"clients\":[{\"lease\":7,\"uid\":0,\"pid\":5,\"program\":\"qemu\",\"connected\":true}],"           \
        "\"interfaces\":[{\"port\":\"port1\",\"name\":\"web\",\"mac\":\"02:00:00:00:00:01\",\"lease\":7,"    \
        "\"mtu\":1500,\"queues\":1,\"rx_bytes\":2048,\"tx_dropped\":3}]}],"                                  \
        "\"definitions\":[{\"name\":\"shared\",\"mode\":\"shared\",\"source\":\"built in\"},"                \
        "{\"name\":\"bad\",\"source\":\"/etc/bad.json\",\"error\":\"/etc/bad.json:3: what?\"},"              \
        "{\"name\":\"host\",\"mode\":\"host\",\"source\":\"built in\"}]}"

static char *ask(struct world *world, const char *request, const char *answer, int *ret_status) {
        accept_client(world);
        expect(world->broker, request);
        reply(world->broker, answer, NULL, 0);
        return finish(world, ret_status);
}

static void test_lists(void **state) {
        struct world *world = *state;
        char *output;
        int status;

        START(world, "net", "ls");
        output = ask(world, "{\"command\":\"list\"}", LISTED, &status);
        assert_int_equal(status, 0);
        assert_string_equal(output, "NETWORK  MODE    SUBNET           IPV6  CLIENTS  INTERFACES  STATE\n"
                                    "shared   shared  192.168.64.0/24  -           1           1  running\n"
                                    "berth: network bad is not usable: /etc/bad.json:3: what?\n");
        free(output);
        START(world, "net", "ls", "--names");
        output = ask(world, "{\"command\":\"list\"}", LISTED, &status);
        assert_string_equal(output, "shared\nhost\n");
        free(output);
        START(world, "net", "show", "shared");
        output = ask(world, "{\"command\":\"list\",\"network_name\":\"shared\"}", LISTED, &status);
        assert_int_equal(status, 0);
        assert_non_null(strstr(output, "subnet      192.168.64.0/24\n"));
        assert_non_null(strstr(output, "PROGRAM"));
        assert_non_null(strstr(output, "2.0 KiB"));
        free(output);
        START(world, "net", "show", "lab");
        output = ask(world, "{\"command\":\"list\",\"network_name\":\"lab\"}",
                     "{\"error\":5,\"message\":\"no\"}", &status);
        assert_int_equal(status, 1);
        assert_non_null(strstr(output, "network lab is not running"));
        free(output);
        START(world, "net", "remove", "shared");
        output = ask(world, "{\"command\":\"remove\",\"network_name\":\"shared\"}",
                     "{\"error\":8,\"message\":\"in use\"}", &status);
        assert_int_equal(status, 1);
        assert_non_null(strstr(output, "cannot remove network shared: in use\n"));
        free(output);
        START(world, "status", "--json");
        output = ask(world, "{\"command\":\"list\"}", LISTED, &status);
        assert_int_equal(status, 0);
        assert_non_null(strstr(output, "\"checks\": ["));
        free(output);
}

/* Without a broker there are no networks, and none is started to say so. */
static void test_no_broker(void **state) {
        struct world *world = *state;
        _cleanup_free_ char *path = text_format("%s/broker.sock", world->directory);
        char *output;
        int status;

        unlink(path);
        START(world, "net", "ls");
        output = finish(world, &status);
        assert_int_equal(status, 0);
        assert_string_equal(output, "No networks are running.\n");
        free(output);
        START(world, "net", "ls", "--json");
        output = finish(world, &status);
        assert_int_equal(status, 0);
        assert_non_null(strstr(output, "\"networks\": []"));
        free(output);
        START(world, "net", "show", "shared");
        output = finish(world, &status);
        assert_int_equal(status, 1);
        free(output);
        START(world, "status");
        output = finish(world, &status);
        assert_int_equal(status, 0);
        assert_non_null(strstr(output, "not running: who set BERTH_SOCKET has to start it\n"));
        free(output);

        /* What a killed broker left is still told of. */
        for (size_t i = 0; i < 2; i++) {
                _cleanup_free_ char *network = text_format("%s/networks/%s", world->directory,
                                                           i == 0 ? "a" : "b");
                _cleanup_free_ char *control = text_format("%s/control.sock", network);

                assert_int_equal(file_make_directory(network, 0700, NULL), 0);
                assert_int_equal(file_write(control, "", 0, 0600, false, NULL), 0);
        }
        START(world, "net", "ls");
        output = finish(world, &status);
        assert_int_equal(status, 0);
        assert_non_null(strstr(output, "left by the last one: a, b.\n"));
        free(output);
        START(world, "status");
        output = finish(world, &status);
        assert_non_null(strstr(output, "left by the last broker, to be taken over by the next: a, b\n"));
        free(output);
}

/* What VMs need is looked for too, with what to install. */
static void test_machine(void **state) {
        static const struct {
                const char *name, *package;
        } programs[] = {
                { "qemu-system-x86_64", "qemu-system-x86)" },
                { "qemu-img", "qemu-utils)" },
                { "ssh", "openssh-client)" },
        };
        struct world *world = *state;
        _cleanup_free_ char *path = strdup(getenv("PATH")),
                            *socket = text_format("%s/broker.sock", world->directory);

        unlink(socket);
        for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
                _cleanup_free_ char *output = NULL,
                                    *program = text_format("%s/%s", world->directory, programs[i].name);
                _cleanup_free_ char *found = text_format("%-18s %s\n", programs[i].name, program);
                int status;

                setenv("PATH", world->directory, 1);
                START(world, "status");
                output = finish(world, &status);
                assert_int_equal(status, 0);
                assert_non_null(strstr(output, programs[i].package));
                free(output);
                assert_int_equal(file_write(program, "", 0, 0755, false, NULL), 0);
                START(world, "status");
                output = finish(world, &status);
                setenv("PATH", path, 1);
                assert_non_null(strstr(output, found));
                assert_null(strstr(output, programs[i].package));
        }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

HARNESS_MAIN(TEST(test_run), TEST(test_run_refused), TEST(test_exit_statuses), TEST(test_help_width),
             TEST(test_lists), TEST(test_no_broker), TEST(test_machine))
