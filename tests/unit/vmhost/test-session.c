/* vmhost/session, against a broker with networks that a child plays: what it asks for, and what it keeps. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "vmhost/launch.h"
#include "vmhost/session.h"
#include "wire/wire.h"

/* ---- The child ---- */

#define CONNECTIONS_MAX 16

struct broker {
        struct wire *connections[CONNECTIONS_MAX];
        char kinds[CONNECTIONS_MAX]; /* 'b' to the broker, 'h' a handle */
        size_t n;
        int log; /* a line for each request and each end */
        int forwards, busy; /* busy: how many starts are refused yet */
};

static void broker_add(struct broker *broker, int fd, char kind) {
        if (broker->n == CONNECTIONS_MAX || wire_new(&broker->connections[broker->n], fd) < 0)
                _exit(10);
        broker->kinds[broker->n++] = kind;
}

static void answer(struct wire *wire, json_t *consume_body, const int *fds, size_t n) {
        if (wire_send(wire, consume_body, fds, n) < 0)
                _exit(11);
        json_decref(consume_body);
}

static void answer_acquire(struct broker *broker, struct wire *wire, const char *name) {
        int fds[2];

        if (text_equal(name, "none")) {
                answer(wire, json_pack("{si ss}", "error", 5, "message", "no such network"), NULL, 0);
                return;
        }
        if (fd_socketpair(fds, true) < 0)
                _exit(12);
        broker_add(broker, fds[0], 'h');
        answer(wire,
               json_pack("{s{ss ss sI ss ss ss si ss}}", "network", "name", name, "mode", "shared", "lease",
                         (json_int_t)1, "subnet", "192.168.64.0", "mask", "255.255.255.0", "gateway",
                         "192.168.64.1", "mtu", 1500, "domain", "berth.internal"),
               &fds[1], 1);
        fd_close(fds[1]);
}

static void answer_start(struct broker *broker, struct wire *wire, json_t *request) {
        json_int_t queues = json_integer_value(json_object_get(request, "queues"));
        int fds[WIRE_FDS_MAX], ends[2];

        if (broker->busy > 0) {
                broker->busy--;
                answer(wire, json_pack("{si ss}", "error", 4, "message", "the name web is in use"), NULL, 0);
                return;
        }
        for (json_int_t i = 0; i < queues; i++) {
                if (fd_socketpair(ends, true) < 0)
                        _exit(13);
                fds[i] = ends[0];
                fd_close(ends[1]);
        }
        answer(wire,
               json_pack("{s{ss sO ss ss si si si si}}", "interface", "port", "port1", "name",
                         json_object_get(request, "name"), "mac", "02:00:00:00:00:01", "address",
                         "192.168.64.2", "mtu", 1400, "max_packet_size", 1414, "queues", (int)queues,
                         "vnet_header_size", 12),
               fds, (size_t)queues);
        for (json_int_t i = 0; i < queues; i++)
                fd_close(fds[i]);
}

static void serve_request(struct broker *broker, size_t i, struct wire_message *message) {
        struct wire *wire = broker->connections[i];
        const char *command = json_string_value(json_object_get(message->body, "command"));
        _cleanup_free_ char *text = json_dumps(message->body, JSON_COMPACT | JSON_SORT_KEYS);

        dprintf(broker->log, "%c%s\n", broker->kinds[i], text);
        if (text_equal(command, "acquire"))
                answer_acquire(broker, wire,
                               json_string_value(json_object_get(message->body, "network_name")));
        else if (text_equal(command, "start"))
                answer_start(broker, wire, message->body);
        else if (text_equal(command, "forward"))
                answer(wire, json_pack("{si}", "forward", ++broker->forwards), NULL, 0);
        else if (text_equal(command, "network"))
                answer(wire,
                       json_pack("{s{ss ss sI ss ss ss si ss}}", "network", "name", "shared", "mode",
                                 "shared", "lease", (json_int_t)1, "subnet", "192.168.64.0", "mask",
                                 "255.255.255.0", "gateway", "192.168.64.1", "mtu", 1500, "domain",
                                 "berth.internal"),
                       NULL, 0);
        else
                answer(wire, json_pack("{ss}", "done", command), NULL, 0);
}

/* Until the test closes its end of the log's twin. */
__attribute__((noreturn)) static void broker_run(int listener, int log, int lifetime, int busy) {
        struct broker broker = { .log = log, .busy = busy };

        for (;;) {
                struct pollfd fds[2 + CONNECTIONS_MAX] = { { listener, POLLIN, 0 }, { lifetime, POLLIN, 0 } };

                for (size_t i = 0; i < broker.n; i++)
                        fds[2 + i] = (struct pollfd){ broker.connections[i] ? wire_fd(broker.connections[i])
                                                                            : -1,
                                                      POLLIN, 0 };
                if (poll(fds, 2 + broker.n, -1) < 0 || fds[1].revents)
                        _exit(0);
                for (size_t i = 0, n = broker.n; i < n; i++) {
                        struct wire_message message = WIRE_MESSAGE_INIT;
                        int r = fds[2 + i].revents ? wire_receive(broker.connections[i], &message, NULL)
                                                   : WIRE_AGAIN;

                        if (r == WIRE_MESSAGE) {
                                serve_request(&broker, i, &message);
                        } else if (r != WIRE_AGAIN) {
                                dprintf(log, "%c end\n", broker.kinds[i]);
                                broker.connections[i] = wire_free(broker.connections[i]);
                        }
                        wire_message_deinit(&message);
                }
                if (fds[0].revents)
                        broker_add(&broker, accept4(listener, NULL, NULL, SOCK_CLOEXEC), 'b');
        }
}

/* ---- The test's side ---- */

struct world {
        char *directory;
        pid_t child;
        int lifetime;
        FILE *log;
};

static int setup_with(void **state, int busy) {
        static struct world world;
        int logs[2], lifetimes[2];

        world = (struct world){ .directory = harness_make_directory() };
        _cleanup_free_ char *path = text_format("%s/broker.sock", world.directory);
        int listener = fd_listen_unix(path, 0600);
        assert_true(listener >= 0);
        assert_int_equal(pipe2(logs, O_CLOEXEC), 0);
        assert_int_equal(pipe2(lifetimes, O_CLOEXEC), 0);
        setenv("BERTH_SOCKET", path, 1);
        world.child = fork();
        assert_true(world.child >= 0);
        if (world.child == 0) {
                fd_close(lifetimes[1]);
                broker_run(listener, logs[1], lifetimes[0], busy);
        }
        fd_close(listener);
        fd_close(logs[1]);
        fd_close(lifetimes[0]);
        world.lifetime = lifetimes[1];
        world.log = fdopen(logs[0], "r");
        *state = &world;
        return 0;
}

static int setup(void **state) {
        return setup_with(state, 0);
}

static int setup_busy(void **state) {
        return setup_with(state, 3);
}

static int teardown(void **state) {
        struct world *world = *state;

        fd_close(world->lifetime);
        assert_int_equal(waitpid(world->child, NULL, 0), world->child);
        fclose(world->log);
        unsetenv("BERTH_SOCKET");
        harness_remove_directory(world->directory);
        return 0;
}

/* The next thing that the broker or a network was told. */
static void expect_log(struct world *world, const char *line) {
        char buffer[1024];

        assert_non_null(fgets(buffer, sizeof(buffer), world->log));
        buffer[strcspn(buffer, "\n")] = '\0';
        assert_string_equal(buffer, line);
}

static struct configuration *parse(const char *text) {
        struct configuration *configuration = NULL;
        struct error error = ERROR_INIT;

        if (configuration_parse(&configuration, "/c", "web", text, strlen(text), &error) < 0)
                fail_msg("%s", error.text);
        return configuration;
}

#define CONFIGURATION                                                                                        \
        "{\"kernel\":\"/k\",\"networks\":[{\"network\":\"shared\",\"queues\":2},{\"network\":\"host\","      \
        "\"mac\":\"02:00:00:00:00:09\",\"isolated\":true}]%s}"

static struct configuration *parse_with(const char *more) {
        _cleanup_free_ char *text = text_format(CONFIGURATION, more);

        return parse(text);
}

#define LOG_ACQUIRE(name) "b{\"command\":\"acquire\",\"network_name\":\"" name "\"}"
#define LOG_START_SHARED "h{\"command\":\"start\",\"name\":\"web\",\"queues\":2}"
#define LOG_START_HOST                                                                                       \
        "h{\"command\":\"start\",\"isolated\":true,\"mac\":\"02:00:00:00:00:09\",\"name\":\"web\","          \
        "\"queues\":1}"

static struct session *open_session(struct world *world, const struct configuration *c) {
        struct session *session = NULL;
        struct error error = ERROR_INIT;

        if (session_open(&session, c, "web", &error) < 0)
                fail_msg("%s", error.text);
        expect_log(world, LOG_ACQUIRE("shared"));
        expect_log(world, LOG_START_SHARED);
        expect_log(world, LOG_ACQUIRE("host"));
        expect_log(world, LOG_START_HOST);
        return session;
}

static void expect_ends(struct world *world) {
        /* In the order in which the broker got them. */
        expect_log(world, "b end");
        expect_log(world, "h end");
        expect_log(world, "h end");
}

static void test_life(void **state) {
        struct world *world = *state;
        _cleanup_(configuration_freep) struct configuration *c = parse_with("");
        struct session *session = open_session(world, c);
        const struct session_interface *interface = session_get_interface(session, 0);
        _cleanup_free_ int *fds = NULL;
        struct error error = ERROR_INIT;
        size_t n;

        assert_int_equal(session_n_interfaces(session), 2);
        assert_null(session_get_interface(session, 2));
        assert_string_equal(interface->network, "shared");
        assert_string_equal(interface->mac, "02:00:00:00:00:01");
        assert_string_equal(interface->address, "192.168.64.2");
        assert_null(interface->ipv6_address);
        assert_int_equal(interface->mtu, 1400);
        assert_int_equal(interface->queues, 2);

        /* The broker's connection, two handles, three taps: all different, none inherited by chance. */
        assert_int_equal(session_fds(session, &fds, &n), 0);
        assert_int_equal(n, 6);
        for (size_t i = 0; i < n; i++) {
                assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
                for (size_t j = 0; j < i; j++)
                        assert_int_not_equal(fds[i], fds[j]);
        }
        int tap = interface->taps[1];
        session_handed_over(session);
        assert_int_equal(fcntl(tap, F_GETFD), -1);
        assert_int_equal(session_get_interface(session, 0)->taps[1], -1);

        /* A further run: the interfaces before are given back, and the leases stay. */
        assert_int_equal(session_renew(session, c, "web", &error), 0);
        expect_log(world, "h{\"command\":\"stop\",\"port\":\"port1\"}");
        expect_log(world, LOG_START_SHARED);
        expect_log(world, "h{\"command\":\"stop\",\"port\":\"port1\"}");
        expect_log(world, LOG_START_HOST);
        assert_true(session_get_interface(session, 0)->taps[1] >= 0);

        c->n_networks = 1;
        assert_int_equal(session_renew(session, c, "web", &error), -ENOTCONN);
        c->n_networks = 2;
        assert_null(session_free(session));
        expect_ends(world);
}

static void test_refusals(void **state) {
        struct world *world = *state;
        _cleanup_(configuration_freep) struct configuration *none = parse("{\"kernel\":\"/k\"}");
        _cleanup_(configuration_freep) struct configuration *unknown = parse(
                "{\"kernel\":\"/k\",\"networks\":[{\"network\":\"none\"}]}");
        struct session *session = NULL;
        struct error error = ERROR_INIT;
        int *fds;
        size_t n;

        assert_int_equal(session_open(&session, unknown, "my_vm", &error), -EINVAL);
        assert_non_null(strstr(error.text, "\"my_vm\""));
        assert_int_equal(session_open(&session, unknown, "web", &error), -ENOENT);
        assert_string_equal(error.text, "cannot acquire the network none: no such network");
        expect_log(world, LOG_ACQUIRE("none"));
        expect_log(world, "b end");
        assert_null(session);

        /* Without networks nobody is asked for anything, whatever the name. */
        setenv("BERTH_SOCKET", "/nowhere", 1);
        assert_int_equal(session_open(&session, none, "my_vm", &error), 0);
        assert_int_equal(session_forward_all(session, none, 0, &error), 0);
        assert_int_equal(session_ssh_port(session), 0);
        assert_int_equal(session_fds(session, &fds, &n), 0);
        assert_int_equal(n, 0);
        free(fds);
        session_free(session);
        session = NULL;
        assert_true(session_open(&session, unknown, "web", &error) < 0);
        assert_non_null(strstr(error.text, "/nowhere"));
}

/* A name that is still taken by the run before is asked for again. */
static void test_patience(void **state) {
        struct world *world = *state;
        _cleanup_(configuration_freep) struct configuration *c = parse(
                "{\"kernel\":\"/k\",\"networks\":[{\"network\":\"shared\",\"queues\":2}]}");
        struct session *session = NULL;

        assert_int_equal(session_open(&session, c, "web", NULL), 0);
        expect_log(world, LOG_ACQUIRE("shared"));
        for (int i = 0; i < 4; i++)
                expect_log(world, LOG_START_SHARED);
        session_free(session);
}

/* None of those that the kernel gives to whoever asks for any (net.ipv4.ip_local_port_range): when it is free again, it
 * is so for us. */
static int occupy(uint16_t *ret_port) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r = -1;

        for (*ret_port = (uint16_t)(12000 + getpid() % 16000); r < 0;) {
                address.sin_port = htons(++*ret_port);
                r = bind(fd, (struct sockaddr *)&address, sizeof(address));
                assert_true(r == 0 || errno == EADDRINUSE);
        }
        assert_int_equal(listen(fd, 1), 0);
        return fd;
}

static void test_forwards(void **state) {
        struct world *world = *state;
        struct error error = ERROR_INIT;
        uint16_t taken, kept;
        _cleanup_fd_ int fd = occupy(&taken);
        _cleanup_fd_ int keeper = occupy(&kept);
        keeper = fd_close(keeper);
        assert_true(fd >= 0);
        _cleanup_free_ char *more = text_format(",\"forwards\":[\"udp:%u:53\",\"%u:80\"]", kept, kept);
        _cleanup_(configuration_freep) struct configuration *c = parse_with(more);
        struct session *session = open_session(world, c);

        /* The preferred port of ssh is somebody's: any other serves. */
        assert_int_equal(session_forward_all(session, c, taken, &error), 0);
        expect_log(world, "h{\"command\":\"forward\",\"name\":\"web\",\"port\":53,\"protocol\":\"udp\"}");
        expect_log(world, "h{\"command\":\"forward\",\"name\":\"web\",\"port\":80,\"protocol\":\"tcp\"}");
        expect_log(world, "h{\"command\":\"forward\",\"name\":\"web\",\"port\":22,\"protocol\":\"tcp\"}");
        assert_true(session_ssh_port(session) != 0 && session_ssh_port(session) != taken);
        json_auto_t *facts = session_describe(session);
        json_t *forwards = json_object_get(facts, "forwards");
        assert_int_equal(json_array_size(forwards), 3);
        assert_int_equal(json_integer_value(json_object_get(json_array_get(forwards, 0), "listen_port")),
                         kept);
        assert_int_equal(json_integer_value(json_object_get(facts, "ssh_port")), session_ssh_port(session));
        session_free(session);
        expect_ends(world);

        /* One that was configured is not exchanged. */
        c->ssh_port = taken;
        c->n_forwards = 0;
        session = open_session(world, c);
        assert_int_equal(session_forward_all(session, c, 0, &error), -EADDRINUSE);
        assert_non_null(strstr(error.text, "in use"));
        c->ssh = false;
        assert_int_equal(session_forward_all(session, c, 0, &error), 0);
        assert_int_equal(session_ssh_port(session), 0);
        session_free(session);
}

/* "QEMU" is a child that merely has the file descriptors; vmhost goes, and another comes. */
static void test_adopt(void **state) {
        struct world *world = *state;
        _cleanup_(configuration_freep) struct configuration *c = parse_with(",\"ssh\":true");
        struct session *session = open_session(world, c);
        struct error error = ERROR_INIT;

        assert_int_equal(session_forward_all(session, c, 0, &error), 0);
        expect_log(world, "h{\"command\":\"forward\",\"name\":\"web\",\"port\":22,\"protocol\":\"tcp\"}");
        uint16_t ssh_port = session_ssh_port(session);
        pid_t qemu = fork();
        assert_true(qemu >= 0);
        if (qemu == 0)
                for (;;)
                        pause();
        _cleanup_fd_ int pidfd = process_open(qemu);
        session_handed_over(session);
        json_auto_t *facts = session_describe(session);
        session_free(session);

        assert_int_equal(session_adopt(&session, facts, pidfd, &error), 0);
        json_auto_t *again = session_describe(session);
        assert_int_equal(session_ssh_port(session), ssh_port);
        assert_true(json_equal(json_object_get(facts, "networks"), json_object_get(again, "networks")));
        assert_true(json_equal(json_object_get(facts, "forwards"), json_object_get(again, "forwards")));
        assert_string_equal(session_get_interface(session, 1)->network, "host");

        /* QEMU ends, and the leases are still held: a further run begins on them. */
        assert_int_equal(kill(qemu, SIGKILL), 0);
        assert_int_equal(waitpid(qemu, NULL, 0), qemu);
        assert_int_equal(session_renew(session, c, "web", &error), 0);
        expect_log(world, "h{\"command\":\"network\"}");
        expect_log(world, LOG_START_SHARED);
        expect_log(world, "h{\"command\":\"network\"}");
        expect_log(world, LOG_START_HOST);
        session_free(session);
        expect_ends(world);

        /* Of a process that has gone nothing is to be had but the record. */
        assert_int_equal(session_adopt(&session, facts, pidfd, &error), 0);
        assert_int_equal(session_n_interfaces(session), 2);
        assert_int_equal(session_renew(session, c, "web", &error), -ENOTCONN);
        session_free(session);
        session = NULL;
        json_auto_t *nonsense = json_pack("{s[{ss}]}", "networks", "network", "shared");
        assert_int_equal(session_adopt(&session, nonsense, pidfd, &error), -EPROTO);
        assert_int_equal(session_adopt(&session, NULL, pidfd, &error), -EPROTO);
        assert_null(session);
}

/* ---- A launch, as far as its networks ---- */

struct launching {
        struct loop *loop;
        struct launch_result result;
};

static void on_step(enum launch_step step, void *data) {
}

static void on_done(struct launch_result *result, void *data) {
        struct launching *launching = data;

        launching->result = *result;
        loop_exit(launching->loop, 0);
}

static const struct launch_handlers launch_handlers = { on_step, on_done };

/* In a directory that is not there, so that it ends before QEMU: its code, with the session in place of the
 * one that was there. */
static int launch_networks(struct session **session, const struct configuration *c) {
        const struct launch_settings settings = { .configuration = c,
                                                  .directory = "/nowhere",
                                                  .name = "web" };
        struct launching launching = {};
        struct launch *launch;

        assert_int_equal(loop_new(&launching.loop), 0);
        assert_int_equal(
                launch_begin(&launch, launching.loop, &settings, *session, &launch_handlers, &launching), 0);
        assert_int_equal(loop_run(launching.loop), 0);
        loop_free(launching.loop);
        *session = launching.result.session;
        return launching.result.code;
}

/* A restart that got its networks and not its forwards leaves the next one all to do. */
static void test_forwards_after_a_failure(void **state) {
        struct world *world = *state;
        _cleanup_(configuration_freep) struct configuration *c = parse(
                "{\"kernel\":\"/k\",\"networks\":[{\"network\":\"shared\",\"queues\":2}],\"ssh\":true}");
        struct session *session = NULL;
        int fd = occupy(&c->ssh_port);

        assert_int_equal(launch_networks(&session, c), -EADDRINUSE);
        expect_log(world, LOG_ACQUIRE("shared"));
        expect_log(world, LOG_START_SHARED);
        fd_close(fd);

        assert_int_equal(launch_networks(&session, c), -ENOENT);
        assert_non_null(session);
        assert_int_equal(session_ssh_port(session), c->ssh_port);
        /* Over networks of its own: the first ones were given back. */
        expect_log(world, "b end");
        expect_log(world, "h end");
        expect_log(world, LOG_ACQUIRE("shared"));
        expect_log(world, LOG_START_SHARED);
        expect_log(world, "h{\"command\":\"forward\",\"name\":\"web\",\"port\":22,\"protocol\":\"tcp\"}");
        session_free(session);
}

/* One that is given up goes on until it notices, whatever else has gone by then. */
static void test_abandoned(void **state) {
        struct world *world = *state;
        struct configuration *c = parse_with("");
        const struct launch_settings settings = { .configuration = c,
                                                  .directory = "/nowhere",
                                                  .name = "web" };
        struct launch *launch;
        struct loop *loop;

        signal(SIGPIPE, SIG_IGN); /* as vmhost does: nobody reads its steps any more */
        assert_int_equal(loop_new(&loop), 0);
        assert_int_equal(kill(world->child, SIGSTOP), 0); /* the launch waits for an answer */
        assert_int_equal(launch_begin(&launch, loop, &settings, NULL, &launch_handlers, NULL), 0);
        assert_true(launch_abandon(launch));
        loop_free(loop);
        configuration_free(c);
        assert_int_equal(kill(world->child, SIGCONT), 0);
        expect_log(world, LOG_ACQUIRE("shared"));
        expect_log(world, LOG_START_SHARED);
        expect_log(world, LOG_ACQUIRE("host"));
        expect_log(world, LOG_START_HOST);
        expect_log(world, "h{\"command\":\"forward\",\"name\":\"web\",\"port\":22,\"protocol\":\"tcp\"}");
        expect_ends(world);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

HARNESS_MAIN(TEST(test_life), TEST(test_refusals),
             cmocka_unit_test_setup_teardown(test_patience, setup_busy, teardown), TEST(test_forwards),
             TEST(test_adopt), TEST(test_forwards_after_a_failure), TEST(test_abandoned))
