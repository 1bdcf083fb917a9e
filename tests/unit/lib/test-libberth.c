/* libberth's public functions, against a peer that is played by hand. */
#include <berth/berth.h>

#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "peer.h"

#define NETWORK                                                                                              \
        "{\"network\":{\"name\":\"shared\",\"mode\":\"shared\",\"lease\":7,\"subnet\":\"192.168.64.0\","     \
        "\"mask\":\"255.255.255.0\",\"gateway\":\"192.168.64.1\",\"start_address\":\"192.168.64.2\","        \
        "\"end_address\":\"192.168.64.254\",\"ipv6_prefix\":\"fd1c::\",\"ipv6_prefix_length\":64,"           \
        "\"ipv6_gateway\":\"fd1c::1\",\"mtu\":1500,\"dhcp\":true,\"dns\":true,\"nat44\":true,"               \
        "\"nat66\":false,\"router_advertisement\":true,\"anti_spoofing\":true,"                              \
        "\"domain\":\"berth.internal\",\"from_a_later_version\":1}}\n"

#define INTERFACE                                                                                            \
        "{\"interface\":{\"port\":\"port1\",\"name\":\"web\",\"mac\":\"02:4d:9c:01:7e:55\","                 \
        "\"address\":\"192.168.64.2\",\"ipv6_address\":\"\",\"mtu\":1400,\"max_packet_size\":1414,"          \
        "\"queues\":2,\"vnet_header_size\":12,\"isolated\":true}}\n"

/* A connection to a peer that plays the broker. */
struct world {
        struct berth *berth;
        struct peer broker;
};

static int setup(void **state) {
        static struct world world;
        int fd;

        peer_init(&world.broker, &fd);
        assert_int_equal(berth_new(&world.berth), 0);
        assert_int_equal(berth_connect_fd(world.berth, fd), 0);
        *state = &world;
        return 0;
}

static int teardown(void **state) {
        struct world *world = *state;

        world->berth = berth_free(world->berth);
        peer_close(&world->broker);
        return 0;
}

/* Acquires "shared"; *ret_peer is the network's side of the handle. */
static struct berth_network *acquire(struct world *world, struct peer *ret_peer) {
        struct berth_network *network = NULL;
        int handle;

        peer_init(ret_peer, &handle);
        peer_send(&world->broker, NETWORK, &handle, 1);
        fd_close(handle);
        assert_int_equal(berth_acquire(world->berth, "shared", &network), 0);
        peer_expect(&world->broker, "{\"command\":\"acquire\",\"network_name\":\"shared\"}\n");
        return network;
}

static void test_acquire(void **state) {
        const struct berth_network_facts *facts;
        struct berth_network *network;
        struct peer peer;

        network = acquire(*state, &peer);
        facts = berth_network_get_facts(network);
        assert_int_equal(facts->size, sizeof(*facts));
        assert_string_equal(facts->name, "shared");
        assert_string_equal(facts->mode, "shared");
        assert_int_equal(facts->lease, 7);
        assert_string_equal(facts->subnet, "192.168.64.0");
        assert_string_equal(facts->mask, "255.255.255.0");
        assert_string_equal(facts->gateway, "192.168.64.1");
        assert_string_equal(facts->start_address, "192.168.64.2");
        assert_string_equal(facts->end_address, "192.168.64.254");
        assert_string_equal(facts->ipv6_prefix, "fd1c::");
        assert_string_equal(facts->ipv6_gateway, "fd1c::1");
        assert_int_equal(facts->ipv6_prefix_length, 64);
        assert_int_equal(facts->mtu, 1500);
        assert_true(facts->dhcp && facts->dns && facts->nat44 && facts->router_advertisement &&
                    facts->anti_spoofing);
        assert_false(facts->nat66);
        assert_string_equal(facts->domain, "berth.internal");
        assert_true(fcntl(berth_network_get_fd(network), F_GETFD) & FD_CLOEXEC);

        berth_network_free(network);
        peer_expect_end(&peer);
        peer_close(&peer);
}

static void test_refusals(void **state) {
        static const struct {
                const char *reply;
                int result, code;
                const char *text;
        } cases[] = {
                { "{\"error\":3,\"message\":\"no\"}\n", -EACCES, BERTH_ERROR_NOT_ALLOWED, "no" },
                { "{\"error\":4,\"message\":\"what?\"}\n", -EINVAL, BERTH_ERROR_INVALID_REQUEST, "what?" },
                { "{\"error\":5,\"message\":\"none\"}\n", -ENOENT, BERTH_ERROR_NOT_FOUND, "none" },
                { "{\"error\":6,\"message\":\"no tun\"}\n", -ENODEV, BERTH_ERROR_CREATE_FAILURE, "no tun" },
                { "{\"error\":7,\"message\":\"oops\"}\n", -EREMOTEIO, BERTH_ERROR_INTERNAL, "oops" },
                { "{\"error\":8,\"message\":\"busy\"}\n", -EBUSY, BERTH_ERROR_IN_USE, "busy" },
                { "{\"error\":99}\n", -EREMOTEIO, 99, "refused without a reason" },
                { "{\"error\":\"x\"}\n", -EPROTO, 0, NULL },
                { "{\"network\":{\"name\":\"shared\"}}\n", -EPROTO, 0, NULL },
                { "{\"network\":7}\n", -EPROTO, 0, NULL },
                { "{}\n", -EPROTO, 0, "the reply has no network" },
                { NETWORK, -EPROTO, 0, "the reply has 0 file descriptors instead of the handle" },
        };
        struct world *world = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct berth_network *network = NULL;

                peer_send(&world->broker, cases[i].reply, NULL, 0);
                assert_int_equal(berth_acquire(world->berth, "x", &network), cases[i].result);
                assert_int_equal(berth_error_code(world->berth), cases[i].code);
                assert_true(berth_error(world->berth)[0]);
                if (cases[i].text)
                        assert_string_equal(berth_error(world->berth), cases[i].text);
                assert_null(network);
        }
        /* The connection goes on, and a success clears what was kept of the failure. */
        peer_send(&world->broker, "{\"released\":\"x\"}\n", NULL, 0);
        assert_int_equal(berth_release(world->berth, "x"), 0);
        assert_string_equal(berth_error(world->berth), "");
        assert_int_equal(berth_error_code(world->berth), 0);
}

static void test_requests(void **state) {
        _cleanup_free_ char *json = NULL, *network = NULL;
        int fds[2], user_fd = -7, network_fd = -7;
        struct world *world = *state;

        peer_send(&world->broker, "{\"released\":\"a\"}\n", NULL, 0);
        assert_int_equal(berth_release(world->berth, "a"), 0);
        peer_send(&world->broker, "{\"removed\":\"b\"}\n", NULL, 0);
        assert_int_equal(berth_remove(world->berth, "b"), 0);
        peer_send(&world->broker, "{\"networks\":[]}\n", NULL, 0);
        assert_int_equal(berth_list(world->berth, NULL, &json), 0);
        assert_string_equal(json, "{\"networks\":[]}");
        peer_expect(&world->broker, "{\"command\":\"release\",\"network_name\":\"a\"}\n"
                                    "{\"command\":\"remove\",\"network_name\":\"b\"}\n"
                                    "{\"command\":\"list\"}\n");

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        peer_send(&world->broker, "{\"network\":{\"name\":\"c\"}}\n", fds, 2);
        assert_int_equal(berth_enter(world->berth, "c", &user_fd, &network_fd, &network), 0);
        assert_string_equal(network, "{\"name\":\"c\"}");
        assert_int_equal(write(network_fd, "x", 1), 1); /* the second of the two */
        fd_close(user_fd);
        fd_close(network_fd);

        peer_send(&world->broker, "{\"network\":{\"name\":\"c\"}}\n", fds, 1);
        assert_int_equal(berth_enter(world->berth, "c", &user_fd, &network_fd, NULL), 0);
        assert_int_equal(user_fd, -1);
        fd_close(network_fd);
        /* Too many, and none: refused without a leak. */
        peer_send(&world->broker, "{\"network\":{}}\n", (int[]){ fds[0], fds[0], fds[0] }, 3);
        assert_int_equal(berth_enter(world->berth, "c", &user_fd, &network_fd, NULL), -EPROTO);
        peer_send(&world->broker, "{\"network\":{}}\n", NULL, 0);
        assert_int_equal(berth_enter(world->berth, "c", &user_fd, &network_fd, NULL), -EPROTO);
        fd_close(fds[0]);
        fd_close(fds[1]);

        assert_int_equal(berth_remove(world->berth, "\xff"), -EINVAL); /* not UTF-8: cannot be sent */
}

/* File descriptors that no reply should have, in each kind of reply: the harness counts what stays open. */
static void test_stray_fds(void **state) {
        struct world *world = *state;
        struct berth_network *network = NULL;
        int fds[3] = { world->broker.fd, world->broker.fd, world->broker.fd };

        peer_send(&world->broker, "{\"error\":5}\n", fds, 3);
        assert_int_equal(berth_acquire(world->berth, "x", &network), -ENOENT);
        peer_send(&world->broker, "{\"released\":\"x\"}\n", fds, 3);
        assert_int_equal(berth_release(world->berth, "x"), 0);
        peer_send(&world->broker, NETWORK, fds, 3);
        assert_int_equal(berth_acquire(world->berth, "x", &network), -EPROTO);
}

static void test_interface(void **state) {
        const struct berth_interface_options options = {
                .size = sizeof(options),
                .name = "web",
                .id = "6f1c2f0e-3d7f-4a62-9f0e-0d2c7c1b5a11",
                .mac = "52:54:00:12:34:56",
                .address = "192.168.64.2",
                .mtu = 1400,
                .queues = 2,
                .isolated = true,
        };
        struct berth_interface *interface = NULL;
        const struct berth_interface_facts *facts;
        struct berth_network *network;
        struct peer peer;
        int fds[2], stolen;

        network = acquire(*state, &peer);
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        peer_send(&peer, INTERFACE, fds, 2);
        assert_int_equal(berth_network_start(network, &options, &interface), 0);
        peer_expect(&peer,
                    "{\"command\":\"start\",\"name\":\"web\",\"id\":\"6f1c2f0e-3d7f-4a62-9f0e-0d2c7c1b5a11\","
                    "\"mac\":\"52:54:00:12:34:56\",\"address\":\"192.168.64.2\",\"mtu\":1400,\"queues\":2,"
                    "\"isolated\":true}\n");
        facts = berth_interface_get_facts(interface);
        assert_int_equal(facts->size, sizeof(*facts));
        assert_string_equal(facts->port, "port1");
        assert_string_equal(facts->name, "web");
        assert_string_equal(facts->mac, "02:4d:9c:01:7e:55");
        assert_string_equal(facts->address, "192.168.64.2");
        assert_null(facts->ipv6_address);
        assert_int_equal(facts->mtu, 1400);
        assert_int_equal(facts->max_packet_size, 1414);
        assert_int_equal(facts->queues, 2);
        assert_int_equal(facts->vnet_header_size, 12);
        assert_true(facts->isolated);

        assert_true(berth_interface_get_fd(interface, 0) >= 0);
        assert_int_equal(berth_interface_get_fd(interface, 2), -EINVAL);
        assert_true(fcntl(berth_interface_get_fd(interface, 1), F_GETFL) & O_NONBLOCK);
        stolen = berth_interface_steal_fd(interface, 1);
        assert_true(stolen >= 0);
        assert_int_equal(berth_interface_get_fd(interface, 1), -EBADF);
        assert_int_equal(berth_interface_steal_fd(interface, 1), -EBADF);
        assert_int_equal(berth_interface_set_inheritable(interface, true), 0);
        assert_false(fcntl(berth_interface_get_fd(interface, 0), F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(stolen, F_GETFD) & FD_CLOEXEC);

        peer_send(&peer, "{\"stopped\":\"port1\"}\n", NULL, 0);
        assert_int_equal(berth_network_stop(network, interface), 0);
        peer_expect(&peer, "{\"command\":\"stop\",\"port\":\"port1\"}\n");

        berth_network_free(network); /* before its interface: they do not depend on each other */
        berth_interface_free(interface);
        assert_int_equal(write(stolen, "x", 1), 1);
        fd_close(stolen);
        fd_close(fds[0]);
        fd_close(fds[1]);
        peer_close(&peer);
}

static void test_interface_refusals(void **state) {
        struct {
                struct berth_interface_options known;
                uint64_t unknown;
        } longer = { .known.size = sizeof(longer) };
        struct berth_interface_options shorter = { .size = offsetof(struct berth_interface_options, id),
                                                   .name = "web",
                                                   .id = "never read" };
        struct berth_interface *interface = NULL;
        struct berth_network *network;
        struct peer peer;

        network = acquire(*state, &peer);
        /* Two queues need two file descriptors. */
        peer_send(&peer, INTERFACE, &peer.fd, 1);
        assert_int_equal(berth_network_start(network, NULL, &interface), -EPROTO);
        peer_expect(&peer, "{\"command\":\"start\"}\n");
        peer_send(&peer, "{\"error\":6,\"message\":\"no /dev/net/tun\"}\n", NULL, 0);
        assert_int_equal(berth_network_start(network, NULL, &interface), -ENODEV);
        assert_int_equal(berth_network_error_code(network), BERTH_ERROR_CREATE_FAILURE);
        assert_string_equal(berth_network_error(network), "no /dev/net/tun");
        peer_expect(&peer, "{\"command\":\"start\"}\n");

        /* An older caller's options end early; a newer one's may not ask for what is unknown here. */
        peer_send(&peer, "{\"error\":4}\n", NULL, 0);
        assert_int_equal(berth_network_start(network, &shorter, &interface), -EINVAL);
        peer_expect(&peer, "{\"command\":\"start\",\"name\":\"web\"}\n");
        peer_send(&peer, "{\"error\":4}\n", NULL, 0);
        assert_int_equal(berth_network_start(network, &longer.known, &interface), -EINVAL);
        peer_expect(&peer, "{\"command\":\"start\"}\n");
        longer.unknown = 1;
        assert_int_equal(berth_network_start(network, &longer.known, &interface), -E2BIG);
        assert_int_equal(berth_network_start(network, &(struct berth_interface_options){ 0 }, &interface),
                         -EINVAL);

        assert_null(interface);
        berth_network_free(network);
        peer_close(&peer);
}

static void test_open_handle(void **state) {
        struct berth_network *network = NULL;
        struct peer peer;
        int handle;

        peer_init(&peer, &handle);
        peer_send(&peer, NETWORK, NULL, 0);
        assert_int_equal(berth_network_open(handle, &network), 0);
        peer_expect(&peer, "{\"command\":\"network\"}\n");
        assert_string_equal(berth_network_get_facts(network)->name, "shared");
        berth_network_free(network);
        peer_close(&peer);

        peer_init(&peer, &handle);
        peer_close(&peer);
        assert_int_equal(berth_network_open(handle, &network), -ECONNRESET);
}

/* Lets the library do what it can, and returns the next event's type, 0 without one. */
static int next_event(struct berth *berth, const struct berth_event **ret) {
        struct pollfd pollfd = { .fd = berth_get_fd(berth), .events = (short)berth_get_events(berth) };

        *ret = berth_pop_event(berth);
        if (!*ret && pollfd.fd >= 0 && poll(&pollfd, 1, 0) > 0) {
                assert_int_equal(berth_dispatch(berth), 0);
                *ret = berth_pop_event(berth);
        }
        return *ret ? (int)(*ret)->type : 0;
}

static void test_events(void **state) {
        const struct berth_event *event;
        struct world *world = *state;
        struct berth_network *network;
        uint64_t first, second, third;
        struct peer peer;
        int handle;

        peer_init(&peer, &handle);
        assert_int_equal(berth_acquire_begin(world->berth, "shared", &first), 0);
        assert_int_equal(berth_acquire_begin(world->berth, "nowhere", &second), 0);
        assert_int_equal(berth_acquire_begin(world->berth, "odd", &third), 0);
        assert_true(first != second && second != third && first != 0);
        assert_int_equal(next_event(world->berth, &event), 0);

        peer_send(&world->broker, NETWORK, &handle, 1);
        fd_close(handle);
        assert_int_equal(next_event(world->berth, &event), BERTH_EVENT_ACQUIRED);
        assert_int_equal(event->id, first);
        assert_int_equal(event->error, 0);
        network = event->network;
        assert_string_equal(berth_network_get_facts(network)->name, "shared");

        peer_send(&world->broker, "{\"error\":5,\"message\":\"no such network\"}\n{\"network\":{}}\n", NULL,
                  0);
        assert_int_equal(next_event(world->berth, &event), BERTH_EVENT_FAILED);
        assert_int_equal(event->id, second);
        assert_int_equal(event->error, -ENOENT);
        assert_int_equal(event->code, BERTH_ERROR_NOT_FOUND);
        assert_string_equal(event->message, "no such network");
        assert_null(event->network);
        assert_int_equal(next_event(world->berth, &event), BERTH_EVENT_FAILED);
        assert_int_equal(event->id, third);
        assert_int_equal(event->error, -EPROTO);
        assert_int_equal(next_event(world->berth, &event), 0);

        /* A blocking call goes between: the event waits for its pop. */
        assert_int_equal(berth_acquire_begin(world->berth, "late", &first), 0);
        peer_send(&world->broker, "{\"error\":3}\n{\"released\":\"shared\"}\n", NULL, 0);
        assert_int_equal(berth_release(world->berth, "shared"), 0);
        assert_int_equal(next_event(world->berth, &event), BERTH_EVENT_FAILED);
        assert_int_equal(event->id, first);

        /* The handle's own events: an interface, then its end. */
        assert_int_equal(berth_network_start_begin(network, NULL, &first), 0);
        peer_send(&peer, INTERFACE, (int[]){ peer.fd, peer.fd }, 2);
        assert_int_equal(berth_network_dispatch(network), 0);
        event = berth_network_pop_event(network);
        assert_int_equal(event->type, BERTH_EVENT_STARTED);
        assert_int_equal(event->id, first);
        berth_interface_free(event->interface);
        assert_null(berth_network_pop_event(network));
        assert_int_equal(shutdown(peer.fd, SHUT_RDWR), 0);
        assert_int_equal(berth_network_dispatch(network), 0);
        event = berth_network_pop_event(network);
        assert_int_equal(event->type, BERTH_EVENT_NETWORK_LOST);
        assert_null(berth_network_pop_event(network));
        assert_int_equal(berth_network_get_fd(network), -ENOTCONN);
        assert_int_equal(berth_network_dispatch(network), -ENOTCONN);
        berth_network_free(network);
        peer_close(&peer);
}

/* Events that nobody pops, with what they hold, go with the connection. */
static void test_events_dropped(void **state) {
        struct world *world = *state;
        struct peer peer;
        uint64_t id;
        int handle;

        peer_init(&peer, &handle);
        peer_send(&world->broker, NETWORK, &handle, 1);
        fd_close(handle);
        assert_int_equal(berth_acquire_begin(world->berth, "shared", &id), 0);
        assert_int_equal(berth_dispatch(world->berth), 0);
        assert_int_equal(berth_acquire_begin(world->berth, "never answered", &id), 0);
        world->berth = berth_free(world->berth);
        peer_expect_end(&peer);
        peer_close(&peer);
}

static void test_disconnect(void **state) {
        const struct berth_event *event;
        struct berth_network *network;
        struct world *world = *state;
        struct peer peer;
        uint64_t id;
        int fd;

        network = acquire(world, &peer);
        assert_int_equal(berth_acquire_begin(world->berth, "a", &id), 0);
        peer_close(&world->broker);
        assert_int_equal(berth_release(world->berth, "shared"), -ECONNRESET);
        assert_int_equal(berth_error_code(world->berth), 0);
        assert_int_equal(berth_release(world->berth, "shared"), -ENOTCONN);
        assert_int_equal(next_event(world->berth, &event), BERTH_EVENT_FAILED);
        assert_int_equal(event->id, id);
        assert_int_equal(event->error, -ECONNRESET);
        assert_int_equal(next_event(world->berth, &event), BERTH_EVENT_DISCONNECTED);
        assert_int_equal(event->error, -ECONNRESET);
        assert_int_equal(next_event(world->berth, &event), 0);
        assert_int_equal(berth_get_fd(world->berth), -ENOTCONN);
        assert_int_equal(berth_get_events(world->berth), -ENOTCONN);
        assert_int_equal(berth_set_inheritable(world->berth, true), -ENOTCONN);

        /* The network does not care, */
        peer_send(&peer, "{\"error\":4,\"message\":\"still here\"}\n", NULL, 0);
        assert_int_equal(berth_network_start(network, NULL, &(struct berth_interface *){ NULL }), -EINVAL);
        assert_string_equal(berth_network_error(network), "still here");
        berth_network_free(network);
        peer_close(&peer);

        /* and the same object connects again. */
        peer_init(&world->broker, &fd);
        assert_int_equal(berth_connect_fd(world->berth, fd), 0);
        peer_send(&world->broker, "{\"released\":\"x\"}\n", NULL, 0);
        assert_int_equal(berth_release(world->berth, "x"), 0);
        assert_int_equal(next_event(world->berth, &event), 0);
        assert_int_equal(berth_connect_fd(world->berth, dup(world->broker.fd)), -EISCONN);
}

/* A broker that is full says so unasked and closes; the reason must not be lost, whichever came first. */
static void test_refused_at_once(void **state) {
        const struct berth_event *event;
        struct world *world = *state;

        peer_send(&world->broker, "{\"error\":3,\"message\":\"too many connections\"}\n", NULL, 0);
        peer_close(&world->broker);
        assert_int_equal(berth_release(world->berth, "x"), -EACCES);
        assert_string_equal(berth_error(world->berth), "too many connections");
        assert_int_equal(next_event(world->berth, &event), BERTH_EVENT_DISCONNECTED);
}

static void test_refused_unasked(void **state) {
        const struct berth_event *event;
        struct world *world = *state;

        peer_send(&world->broker, "{\"error\":3,\"message\":\"too many connections\"}\n", NULL, 0);
        assert_int_equal(next_event(world->berth, &event), BERTH_EVENT_DISCONNECTED);
        assert_int_equal(event->error, -EACCES);
        assert_string_equal(event->message, "too many connections");
}

static void test_protocol_errors(void **state) {
        static char endless[70000];
        const char *const cases[] = { "not JSON\n", "[1]\n", "{\"a\":1}\n", endless };
        struct world *world = *state;

        memset(endless, 'x', sizeof(endless) - 1);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct berth_event *event;
                int fd;

                peer_send(&world->broker, cases[i], &world->broker.fd, 1);
                for (int n = 0; n < 100 && berth_get_fd(world->berth) >= 0; n++)
                        berth_dispatch(world->berth);
                assert_int_equal(next_event(world->berth, &event), BERTH_EVENT_DISCONNECTED);
                assert_int_equal(event->error, -EPROTO);
                peer_close(&world->broker);
                peer_init(&world->broker, &fd);
                assert_int_equal(berth_connect_fd(world->berth, fd), 0);
        }
}

static void test_timeout(void **state) {
        struct berth_network *network = NULL;
        const struct berth_event *event;
        struct world *world = *state;
        struct peer peer;
        int handle;

        berth_set_timeout(world->berth, 10);
        assert_int_equal(berth_acquire(world->berth, "slow", &network), -ETIMEDOUT);
        berth_set_timeout(world->berth, 60000);
        /* The late reply is nobody's: its handle is closed, and the next reply is the next call's. */
        peer_init(&peer, &handle);
        peer_send(&world->broker, NETWORK, &handle, 1);
        fd_close(handle);
        peer_send(&world->broker, "{\"released\":\"x\"}\n", NULL, 0);
        assert_int_equal(berth_release(world->berth, "x"), 0);
        peer_expect_end(&peer);
        peer_close(&peer);
        assert_int_equal(next_event(world->berth, &event), 0);
}

static void test_connect_errors(void **state) {
        struct berth *berth = NULL;

        assert_int_equal(berth_new(&berth), 0);
        assert_string_equal(berth_error(berth), "");
        assert_null(berth_get_socket(berth));
        assert_int_equal(berth_release(berth, "x"), -ENOTCONN);
        assert_int_equal(berth_connect(berth, "/nowhere/broker.sock", 0), -ENOENT);
        assert_string_equal(berth_get_socket(berth), "/nowhere/broker.sock");
        assert_non_null(strstr(berth_error(berth), "/nowhere/broker.sock"));
        assert_int_equal(berth_connect(berth, NULL, 1U << 30), -EINVAL);
        setenv("BERTH_SOCKET", "/nowhere/named.sock", 1);
        assert_int_equal(berth_connect(berth, NULL, 0), -ENOENT); /* starts nothing there */
        assert_non_null(strstr(berth_error(berth), "BERTH_SOCKET"));
        unsetenv("BERTH_SOCKET");
        berth_free(berth);
        assert_null(berth_free(NULL));
        assert_null(berth_network_free(NULL));
        assert_null(berth_interface_free(NULL));
}

/* The socket that the network receives is the caller's: what is bound there is bound here. */
static void expect_socket(struct peer *peer, const char *request, int expected) {
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = { 0 };
        char buffer[256] = "";
        struct iovec vector = { .iov_base = buffer, .iov_len = sizeof(buffer) - 1 };
        struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control,
                                  .msg_controllen = sizeof(control) };
        struct sockaddr_in ours, theirs;
        socklen_t size = sizeof(ours);
        int fd;

        assert_true(recvmsg(peer->fd, &message, MSG_CMSG_CLOEXEC) > 0);
        assert_string_equal(buffer, request);
        assert_int_equal(message.msg_controllen, CMSG_SPACE(sizeof(int)));
        memcpy(&fd, CMSG_DATA(&control.align), sizeof(fd));
        assert_int_equal(getsockname(expected, (struct sockaddr *)&ours, &size), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&theirs, &size), 0);
        assert_int_equal(ours.sin_port, theirs.sin_port);
        fd_close(fd);
}

static int bound_socket(int type) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

static void test_forwards(void **state) {
        struct peer peer;
        struct berth_network *network = acquire(*state, &peer);
        _cleanup_fd_ int tcp = bound_socket(SOCK_STREAM), udp = bound_socket(SOCK_DGRAM);
        _cleanup_free_ char *json = NULL;
        int pipe_fds[2];
        uint64_t number = 0;

        peer_send(&peer, "{\"forward\":3}\n", NULL, 0);
        assert_int_equal(berth_network_forward(network, tcp, "web", 22, &number), 0);
        assert_int_equal(number, 3);
        expect_socket(&peer, "{\"command\":\"forward\",\"protocol\":\"tcp\",\"name\":\"web\",\"port\":22}\n",
                      tcp);
        peer_send(&peer, "{\"forward\":4}\n", NULL, 0);
        assert_int_equal(berth_network_forward(network, udp, "web", 53, NULL), 0);
        expect_socket(&peer, "{\"command\":\"forward\",\"protocol\":\"udp\",\"name\":\"web\",\"port\":53}\n",
                      udp);

        peer_send(&peer, "{\"forwards\":[{\"forward\":3}]}\n", NULL, 0);
        assert_int_equal(berth_network_list_forwards(network, &json), 0);
        assert_string_equal(json, "[{\"forward\":3}]");
        peer_send(&peer, "{\"unforwarded\":3}\n", NULL, 0);
        assert_int_equal(berth_network_unforward(network, 3), 0);
        peer_expect(&peer, "{\"command\":\"forwards\"}\n{\"command\":\"unforward\",\"forward\":3}\n");

        peer_send(&peer, "{\"error\":3,\"message\":\"too many\"}\n", NULL, 0);
        assert_int_equal(berth_network_forward(network, tcp, "web", 22, &number), -EACCES);
        assert_string_equal(berth_network_error(network), "too many");
        peer_send(&peer, "{}\n", NULL, 0);
        assert_int_equal(berth_network_forward(network, tcp, "web", 22, &number), -EPROTO);
        assert_int_equal(number, 3);
        assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
        assert_int_equal(berth_network_forward(network, pipe_fds[0], "web", 22, NULL), -ENOTSOCK);
        fd_close(pipe_fds[0]);
        fd_close(pipe_fds[1]);

        berth_network_free(network);
        peer_close(&peer);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

HARNESS_MAIN(TEST(test_acquire), TEST(test_refusals), TEST(test_requests), TEST(test_stray_fds),
             TEST(test_interface), TEST(test_interface_refusals), cmocka_unit_test(test_open_handle), TEST(test_forwards),
             TEST(test_events), TEST(test_events_dropped), TEST(test_disconnect), TEST(test_refused_at_once),
             TEST(test_refused_unasked), TEST(test_protocol_errors), TEST(test_timeout),
             cmocka_unit_test(test_connect_errors))
