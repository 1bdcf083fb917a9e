/* network/links and network/tap, in a namespace of the test's own */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "network/tap.h"
#include "world.h"

static const struct mac bridge_mac = { { 2, 0, 0, 0, 0, 1 } }, port_mac = { { 0xfe, 0, 0, 0, 0, 1 } };

static struct links *make(void) {
        struct links *links = NULL;
        struct error error = ERROR_INIT;

        world_enter();
        if (links_new(&links, &error) < 0 || links_set_up(links, "lo", &error) < 0)
                fail_msg("%s", error.text);
        return links;
}

/* What an attribute of a device says in /sys; the name space of sysfs is that of its mount, so it is asked by
 * ip. */
static bool device_says(const char *command, const char *expected) {
        char line[512] = "";
        bool found = false;

        FILE *f = popen(command, "re");
        assert_non_null(f);
        while (fgets(line, sizeof(line), f))
                found |= strstr(line, expected) != NULL;
        pclose(f);
        return found;
}

static void test_bridge_and_port(void **state) {
        struct links *links = make();
        struct error error = ERROR_INIT;
        int fds[TAP_QUEUES_MAX];

        assert_int_equal(links_add_bridge(links, "br0", &bridge_mac, 1400, &error), 0);
        assert_int_equal(links_add_bridge(links, "br0", &bridge_mac, 1400, &error), 0); /* there already */
        assert_int_equal(tap_open("port1", 1, fds, &error), 0);
        assert_int_equal(links_set_port(links, "port1", "br0", "berth x", &port_mac, 1300, false, &error), 0);
        assert_true(device_says("ip link show br0",
                                "mtu 1400")); /* the smallest port's is none of the router's */
        assert_true(device_says("ip link show br0", "02:00:00:00:00:01"));
        assert_true(device_says("ip link show port1", "mtu 1300"));
        assert_true(device_says("ip link show port1", "master br0"));
        assert_true(device_says("ip link show port1", "alias berth x"));
        assert_true(device_says("ip -d link show port1", "isolated off"));

        int others[TAP_QUEUES_MAX];
        assert_int_equal(tap_open("port2", 1, others, &error), 0);
        assert_int_equal(links_set_port(links, "port2", "br0", "berth y", &port_mac, 1300, true, &error), 0);
        assert_true(device_says("ip -d link show port2", "isolated on"));

        assert_int_equal(links_set_port(links, "port3", "br0", "", &port_mac, 1300, false, &error), -ENODEV);
        assert_int_equal(links_set_port(links, "port1", "br1", "", &port_mac, 1300, false, &error), -ENODEV);
        fd_close(fds[0]);
        assert_int_equal(links_find(links, "port1"), -ENODEV);
        assert_int_equal(links_delete(links, "port2", &error), 0);
        assert_int_equal(links_delete(links, "port2", &error), 0);
        fd_close(others[0]);
        links_free(links);
}

static void collect(const struct link *link, void *data) {
        char *text = data;

        snprintf(text + strlen(text), 200 - strlen(text), "%s(%s)%s ", link->name, link->alias,
                 link->up ? "+" : "-");
}

static void test_dump(void **state) {
        struct links *links = make();
        struct error error = ERROR_INIT;
        char text[200] = "";
        int fds[TAP_QUEUES_MAX];

        assert_int_equal(links_add_bridge(links, "br0", &bridge_mac, 1500, &error), 0);
        assert_int_equal(tap_open("port1", 1, fds, &error), 0);
        assert_int_equal(links_set_port(links, "port1", "br0", "berth x", &port_mac, 1500, false, &error), 0);
        assert_int_equal(links_dump(links, collect, text, &error), 0);
        assert_non_null(strstr(text, "lo()+"));
        assert_non_null(strstr(text, "br0()-"));
        assert_non_null(strstr(text, "port1(berth x)+"));
        fd_close(fds[0]);
        links_free(links);
}

static void count_address(int family, const void *address, void *data) {
        char text[INET6_ADDRSTRLEN], *all = data;

        inet_ntop(family, address, text, sizeof(text));
        snprintf(all + strlen(all), 300 - strlen(all), "%s ", text);
}

static void test_addresses_and_routes(void **state) {
        struct links *links = make();
        struct error error = ERROR_INIT;
        struct in6_addr address6, router6;
        char text[300] = "";

        assert_int_equal(links_add_bridge(links, "br0", &bridge_mac, 1500, &error), 0);
        assert_int_equal(links_set_up(links, "br0", &error), 0);
        for (int i = 0; i < 2; i++) /* and again */
                assert_int_equal(links_add_address4(links, "br0", 0xc0a84001, 24, &error), 0);
        assert_int_equal(ipv6_parse("fd12::1", &address6), 0);
        assert_int_equal(ipv6_parse("fe80::9", &router6), 0);
        for (int i = 0; i < 2; i++)
                assert_int_equal(links_add_address6(links, "br0", &address6, 64, &error), 0);
        assert_int_equal(links_dump_addresses(links, AF_INET, count_address, text, &error), 0);
        assert_int_equal(links_dump_addresses(links, AF_INET6, count_address, text, &error), 0);
        assert_non_null(strstr(text, "127.0.0.1 "));
        assert_non_null(strstr(text, "192.168.64.1 "));
        assert_non_null(strstr(text, "fd12::1 "));
        assert_true(device_says("ip -6 addr show br0", "nodad"));

        assert_false(links_has_default_route(links, AF_INET));
        assert_false(links_has_default_route(links, AF_INET6));
        for (int i = 0; i < 2; i++) {
                assert_int_equal(links_add_route4(links, 0, 0, 0xa9fe4001, "br0", 0xc0a84001, &error), 0);
                assert_int_equal(links_add_route4(links, 0xc0000200, 24, 0, "br0", 0, &error), 0);
                assert_int_equal(links_add_route6(links, &in6addr_any, 0, &router6, "br0", &address6, &error),
                                 0);
        }
        assert_true(links_has_default_route(links, AF_INET));
        assert_true(links_has_default_route(links, AF_INET6));
        assert_true(device_says("ip route",
                                "default via 169.254.64.1 dev br0 proto static src 192.168.64.1 onlink"));
        assert_true(device_says("ip route", "192.0.2.0/24 dev br0"));
        assert_int_equal(links_add_address4(links, "br1", 1, 24, &error), -ENODEV);
        assert_int_equal(links_add_route4(links, 0, 0, 0, "br1", 0, &error), -ENODEV);
        links_free(links);
}

/* A socket goes on to serve the namespace in which it was made. */
static void test_two_namespaces(void **state) {
        struct links *host = make();
        struct links *inner = make();
        _cleanup_fd_ int namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        struct error error = ERROR_INIT;

        for (int i = 0; i < 2; i++)
                assert_int_equal(links_add_veth(host, "berth64", "uplink0", namespace, 9000, &error), 0);
        assert_true(links_find(host, "berth64") > 0);
        assert_true(links_find(inner, "uplink0") > 0);
        assert_int_equal(links_find(inner, "berth64"), -ENODEV);
        assert_int_equal(links_find(host, "uplink0"), -ENODEV);
        assert_int_equal(links_delete(host, "berth64", &error), 0);
        assert_int_equal(links_find(inner, "uplink0"), -ENODEV);
        links_free(inner);
        links_free(host);
}

/* The router has the addresses that it was given and no other: any other could be taken by a VM. */
static void test_router_addresses(void **state) {
        struct world world;
        char text[300] = "";

        world_make(&world, NULL);
        assert_int_equal(links_dump_addresses(world.links, AF_INET, count_address, text, NULL), 0);
        assert_int_equal(links_dump_addresses(world.links, AF_INET6, count_address, text, NULL), 0);
        assert_string_equal(text, "127.0.0.1 192.168.64.1 ::1 fd12:3456:789a:40::1 fe80::1 ");
        world_end(&world);
}

static void test_tap(void **state) {
        struct links *links = make();
        struct error error = ERROR_INIT;
        int fds[TAP_QUEUES_MAX], again[TAP_QUEUES_MAX];
        size_t before = fd_count_open();

        assert_int_equal(tap_check(&error), 0);
        assert_int_equal(tap_open("tap1", TAP_QUEUES_MAX, fds, &error), 0);
        for (size_t i = 0; i < TAP_QUEUES_MAX; i++) {
                struct ifreq ifr = {};
                int header = 0;

                assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
                assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
                assert_int_equal(ioctl(fds[i], TUNGETIFF, &ifr), 0);
                assert_string_equal(ifr.ifr_name, "tap1");
                assert_true((ifr.ifr_flags & IFF_VNET_HDR) && (ifr.ifr_flags & IFF_MULTI_QUEUE));
                assert_int_equal(ioctl(fds[i], TUNGETVNETHDRSZ, &header), 0);
                assert_int_equal(header, TAP_VNET_HEADER_SIZE);
        }
        /* One is there already, and is left alone. */
        assert_int_equal(tap_open("tap1", 1, again, &error), -EINVAL);
        assert_true(links_find(links, "tap1") > 0);
        for (size_t i = 0; i < TAP_QUEUES_MAX; i++)
                fd_close(fds[i]);
        assert_int_equal(links_find(links, "tap1"), -ENODEV);

        assert_int_equal(tap_open("tap1", 1, fds, &error), 0);
        assert_int_equal(tap_open("tap1", 1, again, &error), -EBUSY);
        fd_close(fds[0]);
        assert_int_equal(fd_count_open(), before);
        links_free(links);
}

HARNESS_MAIN(cmocka_unit_test(test_bridge_and_port), cmocka_unit_test(test_dump),
             cmocka_unit_test(test_addresses_and_routes), cmocka_unit_test(test_two_namespaces),
             cmocka_unit_test(test_router_addresses), cmocka_unit_test(test_tap))
