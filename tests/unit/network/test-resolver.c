/* network/resolver: queries from a network's namespace to name servers of the host's */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "network/outpost.h"
#include "network/resolver.h"
#include "world.h"

/* The host's side: a loopback with a name server's socket on it, and an /etc/resolv.conf of the test's own.
 */
struct host {
        struct outpost *outpost;
        struct loop *loop;
        struct resolver *resolver;
        int server, server6, client;
        char *directory;
};

static int listen_on(const char *address) {
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(53) };

        assert_int_equal(inet_pton(AF_INET, address, &in.sin_addr), 1);
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
        return fd;
}

/* On a link that the host has and the network has not. */
static int listen_on_link(void) {
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
                                    .sin6_port = htons(53),
                                    .sin6_scope_id = if_nametoindex("outside") };

        assert_int_equal(inet_pton(AF_INET6, "fe80::53", &in6.sin6_addr), 1);
        int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&in6, sizeof(in6)), 0);
        return fd;
}

static int connect_to_resolver(int type) {
        struct sockaddr_in in = { .sin_family = AF_INET,
                                  .sin_port = htons(RESOLVER_PORT),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
        return fd;
}

static void set_up_loopback(void) {
        struct links *links;

        assert_int_equal(links_new(&links, NULL), 0);
        assert_int_equal(links_set_up(links, "lo", NULL), 0);
        links_free(links);
}

static bool is_route_to(const struct nlmsghdr *header, const struct in6_addr *address) {
        const struct rtmsg *route = NLMSG_DATA(header);
        size_t size = RTM_PAYLOAD(header);

        if (header->nlmsg_type != RTM_NEWROUTE || route->rtm_type != RTN_LOCAL)
                return false;
        for (struct rtattr *a = RTM_RTA(route); RTA_OK(a, size); a = RTA_NEXT(a, size))
                if (a->rta_type == RTA_DST && RTA_PAYLOAD(a) == sizeof(*address) &&
                    memcmp(RTA_DATA(a), address, sizeof(*address)) == 0)
                        return true;
        return false;
}

/* The kernel sets up the way to a new address of its own in a work queue of its own; before that, what is
 * sent there is lost, for a neighbour is looked for who has it. `routes` has heard of routes since before the
 * address was added. */
static void wait_for_route(int routes, const struct in6_addr *address) {
        union {
                struct nlmsghdr align;
                char bytes[8192];
        } buffer;

        for (;;) {
                ssize_t n = recv(routes, &buffer, sizeof(buffer), 0);

                assert_true(n > 0);
                for (const struct nlmsghdr *h = &buffer.align; NLMSG_OK(h, (size_t)n); h = NLMSG_NEXT(h, n))
                        if (is_route_to(h, address))
                                return;
        }
}

static void set_up_link(void) {
        const struct sockaddr_nl groups = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV6_ROUTE };
        _cleanup_fd_ int routes = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
        const struct mac mac = { { 2, 0, 0, 0, 0, 1 } };
        struct in6_addr address;
        struct links *links;

        assert_int_equal(bind(routes, (const struct sockaddr *)&groups, sizeof(groups)), 0);
        assert_int_equal(ipv6_parse("fe80::53", &address), 0);
        assert_int_equal(links_new(&links, NULL), 0);
        assert_int_equal(links_add_bridge(links, "outside", &mac, 1500, NULL), 0);
        assert_int_equal(links_add_address6(links, "outside", &address, 64, NULL), 0);
        assert_int_equal(links_set_up(links, "outside", NULL), 0);
        wait_for_route(routes, &address);
        links_free(links);
}

/* `servers` is the text of resolv.conf. */
static void make_host(struct host *host, const char *servers) {
        struct error error = ERROR_INIT;

        world_enter();
        if (unshare(CLONE_NEWNS) < 0)
                skip();
        *host = (struct host){ .directory = harness_make_directory() };
        char path[200];
        snprintf(path, sizeof(path), "%s/resolv.conf", host->directory);
        assert_int_equal(file_write(path, servers, strlen(servers), 0644, false, NULL), 0);
        assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
        assert_int_equal(mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL), 0);
        set_up_loopback();
        set_up_link();
        host->server = listen_on("127.0.0.53");
        host->server6 = listen_on_link();

        assert_int_equal(outpost_new(&host->outpost, &error), 0);
        world_enter(); /* the network's */
        set_up_loopback();
        assert_int_equal(loop_new(&host->loop), 0);
        assert_int_equal(resolver_new(&host->resolver, host->loop, host->outpost, &error), 0);
        host->client = connect_to_resolver(SOCK_DGRAM);
}

static void end_host(struct host *host) {
        fd_close(host->client);
        fd_close(host->server);
        fd_close(host->server6);
        resolver_free(host->resolver);
        outpost_free(host->outpost);
        loop_free(host->loop);
        umount2("/etc/resolv.conf", MNT_DETACH);
        harness_remove_directory(host->directory);
}

static int stop_loop(struct source *source, int fd, uint32_t events, void *data) {
        loop_exit(data, 0);
        return 0;
}

static int stop_for_time(struct source *source, void *data) {
        loop_exit(data, -ETIMEDOUT);
        return 0;
}

/* Runs the loop until there is something to read: whether there was within a minute. */
static bool run_until_readable(struct loop *loop, int fd) {
        struct source *source, *timer;

        assert_int_equal(loop_add_fd(loop, &source, fd, POLLIN, stop_loop, loop), 0);
        assert_int_equal(loop_add_timer(loop, &timer, stop_for_time, loop), 0);
        source_arm(timer, 60000000);
        int r = loop_run(loop);
        source_free(source);
        source_free(timer);
        return r == 0;
}

static void answer(int server, const char *expected, const char *reply) {
        struct sockaddr_storage from;
        socklen_t size = sizeof(from);
        char buffer[512];

        ssize_t n = recvfrom(server, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &size);
        assert_int_equal(n, strlen(expected));
        assert_memory_equal(buffer, expected, strlen(expected));
        assert_int_equal(sendto(server, reply, strlen(reply), 0, (struct sockaddr *)&from, size),
                         strlen(reply));
}

static void expect_answer(struct host *host, const char *reply) {
        char buffer[512];

        assert_true(run_until_readable(host->loop, host->client));
        assert_int_equal(recv(host->client, buffer, sizeof(buffer), 0), strlen(reply));
        assert_memory_equal(buffer, reply, strlen(reply));
}

static void test_datagram(void **state) {
        struct host host;

        make_host(&host, "nameserver 127.0.0.53\n");
        for (int i = 0; i < 3; i++) {
                assert_int_equal(send(host.client, "query", 5, 0), 5);
                assert_true(run_until_readable(host.loop, host.server));
                answer(host.server, "query", "reply");
                expect_answer(&host, "reply");
        }
        end_host(&host);
}

static void test_stream(void **state) {
        struct host host;
        char buffer[16];

        make_host(&host, "nameserver 127.0.0.53\n");
        fd_close(host.server);
        /* The server's socket is of the host's namespace, so the outpost opens it. */
        host.server = outpost_socket(host.outpost, AF_INET, SOCK_STREAM, 0);
        assert_true(host.server >= 0);
        struct sockaddr_in in = { .sin_family = AF_INET,
                                  .sin_port = htons(53),
                                  .sin_addr.s_addr = htonl(0x7f000035) };
        assert_int_equal(bind(host.server, (struct sockaddr *)&in, sizeof(in)), 0);
        assert_int_equal(listen(host.server, 5), 0);

        _cleanup_fd_ int client = connect_to_resolver(SOCK_STREAM);
        assert_int_equal(send(client, "query", 5, 0), 5);
        assert_true(run_until_readable(host.loop, host.server));
        _cleanup_fd_ int server = accept4(host.server, NULL, NULL, SOCK_CLOEXEC);
        assert_true(run_until_readable(host.loop, server));
        assert_int_equal(recv(server, buffer, sizeof(buffer), 0), 5);
        assert_int_equal(send(server, "reply", 5, 0), 5);
        assert_true(run_until_readable(host.loop, client));
        assert_int_equal(recv(client, buffer, sizeof(buffer), 0), 5);
        assert_memory_equal(buffer, "reply", 5);
        end_host(&host);
}

/* Queries come in pairs (A and AAAA): a dead server is skipped once for both, and the next ones are answered.
 */
static void test_dead_server(void **state) {
        struct host host;

        make_host(&host, "nameserver 127.0.0.99\nnameserver 127.0.0.53\n");
        assert_int_equal(send(host.client, "A", 1, 0), 1);
        assert_int_equal(send(host.client, "AAAA", 4, 0), 4);
        bool answered = false;
        /* Nobody listens on .99, so the queries fail at once; they are asked again, as dnsmasq would. */
        for (int tries = 0; tries < 4 && !answered; tries++) {
                struct source *timer;
                assert_int_equal(loop_add_timer(host.loop, &timer, stop_for_time, host.loop), 0);
                source_arm(timer, 100000);
                loop_run(host.loop);
                source_free(timer);
                struct pollfd p = { .fd = host.server, .events = POLLIN };
                answered = poll(&p, 1, 0) == 1;
                if (!answered) {
                        assert_int_equal(send(host.client, "A", 1, 0), 1);
                        assert_int_equal(send(host.client, "AAAA", 4, 0), 4);
                }
        }
        assert_true(answered);
        end_host(&host);
}

/* Routers announce name servers so (RFC 8106), and NetworkManager writes them down so. */
static void test_link_local_server(void **state) {
        struct host host;

        make_host(&host, "nameserver fe80::53%outside\n");
        assert_int_equal(send(host.client, "query", 5, 0), 5);
        assert_true(run_until_readable(host.loop, host.server6));
        answer(host.server6, "query", "reply");
        expect_answer(&host, "reply");
        end_host(&host);
}

HARNESS_MAIN(cmocka_unit_test(test_datagram), cmocka_unit_test(test_stream),
             cmocka_unit_test(test_dead_server), cmocka_unit_test(test_link_local_server))
