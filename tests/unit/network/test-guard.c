/* network/ruleset: what a VM may send, shown by real frames from one tap to another */
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "base/memory.h"
#include "frame.h"
#include "network/ruleset.h"

#define PREFIX "fd12:3456:789a:40:"
#define PRIVATE PREFIX "1111:2222:3333:4444" /* such as a VM chooses for itself (RFC 8981) */
#define GATEWAY4 0xc0a84001U

/* Two VMs, .2 and .3, with frames that are theirs to send; `bad` is one that is not. */
struct two {
        struct world world;
        struct nic a, b;
        char local_a[INET6_ADDRSTRLEN], local_b[INET6_ADDRSTRLEN];
};

static void format_local(const struct nic *nic, char buffer[static INET6_ADDRSTRLEN]) {
        const struct in6_addr prefix = { .s6_addr = { 0xfe, 0x80 } };
        struct in6_addr address = address_eui64(&prefix, &nic->mac);

        ipv6_format(&address, buffer);
}

static void make_two(struct two *two, const char *changes) {
        world_make(&two->world, changes);
        two->a = world_start(&two->world, (struct port_request){ .name = "a" });
        two->b = world_start(&two->world, (struct port_request){ .name = "b" });
        format_local(&two->a, two->local_a);
        format_local(&two->b, two->local_b);
}

static void end_two(struct two *two) {
        world_unplug(&two->world, &two->a);
        world_unplug(&two->world, &two->b);
        world_end(&two->world);
}

static bool a_to_b(const struct two *two, const struct frame *frame) {
        return frame_passes(frame, &two->a, &two->b);
}

static void test_own(void **state) {
        struct two t;
        struct frame f;

        make_two(&t, NULL);
        frame_arp(&f, &t.a.mac, 1, &t.a.mac, t.a.address, t.b.address);
        assert_true(a_to_b(&t, &f));
        frame_arp(&f, &t.a.mac, 1, &t.a.mac, 0, t.a.address); /* a probe (RFC 5227) */
        assert_true(a_to_b(&t, &f));
        frame_udp4(&f, &t.b.mac, &t.a.mac, t.a.address, t.b.address, 1000, 2000, "x", 1);
        assert_true(a_to_b(&t, &f));
        frame_udp6(&f, &t.b.mac, &t.a.mac, PREFIX ":2", PREFIX ":3", 1000, 2000);
        assert_true(a_to_b(&t, &f));
        frame_udp6(&f, &t.b.mac, &t.a.mac, t.local_a, t.local_b, 1000, 2000);
        assert_true(a_to_b(&t, &f));
        frame_discovery(&f, &t.a.mac, t.local_a, t.local_b, 135, t.local_b);
        assert_true(a_to_b(&t, &f));
        frame_discovery(&f, &t.a.mac, PREFIX ":2", t.local_b, 136, PREFIX ":2");
        assert_true(a_to_b(&t, &f));
        end_two(&t);
}

static void test_mac(void **state) {
        struct two t;
        const struct mac other = { { 2, 0, 0, 0, 0, 1 } };
        struct frame f;

        make_two(&t, NULL);
        frame_udp4(&f, &t.b.mac, &other, t.a.address, t.b.address, 1000, 2000, "x", 1);
        assert_false(a_to_b(&t, &f));
        frame_udp4(&f, &t.b.mac, &t.b.mac, t.a.address, t.b.address, 1000, 2000, "x", 1);
        assert_false(a_to_b(&t, &f));
        frame_udp6(&f, &t.b.mac, &other, PREFIX ":2", PREFIX ":3", 1000, 2000);
        assert_false(a_to_b(&t, &f));
        end_two(&t);
}

/*
 * Frames to the groups of IEEE 802.1D do not pass the hook where the guard stands, yet a bridge learns from
 * them by default: one of them would bring another VM's traffic here.
 */
static void test_reserved_groups_teach_nothing(void **state) {
        struct two t;
        struct mac group = { { 0x01, 0x80, 0xc2, 0, 0, 0 } };
        struct frame f, hello;

        make_two(&t, NULL);
        struct nic c = world_start(&t.world, (struct port_request){ .name = "c" });
        frame_arp(&hello, &t.b.mac, 1, &t.b.mac, t.b.address, c.address);
        for (uint8_t last = 0; last < 16; last++) {
                assert_true(frame_passes(&hello, &t.b, &c)); /* the bridge knows where b is */
                group.octets[5] = last;
                frame_udp4(&f, &group, &t.b.mac, t.b.address, c.address, 1000, 2000, "x", 1);
                frame_send(&f, t.a.fd);
                frame_udp4(&f, &t.b.mac, &c.mac, c.address, t.b.address, 1000, 2000, "to b", 4);
                assert_false(frame_passes_heralded(&f, &c, &t.a, &c));
                assert_true(frame_passes(&f, &c, &t.b));
        }
        world_unplug(&t.world, &c);
        end_two(&t);
}

static void test_arp(void **state) {
        struct two t;
        struct frame f;

        make_two(&t, NULL);
        frame_arp(&f, &t.a.mac, 2, &t.a.mac, t.b.address, t.b.address);
        assert_false(a_to_b(&t, &f));
        frame_arp(&f, &t.a.mac, 2, &t.a.mac, GATEWAY4, t.b.address);
        assert_false(a_to_b(&t, &f));
        frame_arp(&f, &t.a.mac, 1, &t.b.mac, t.a.address, t.b.address);
        assert_false(a_to_b(&t, &f));
        frame_arp(&f, &t.a.mac, 1, &t.a.mac, 0,
                  t.b.address); /* a probe, which would be a conflict to b's own */
        assert_false(a_to_b(&t, &f));
        end_two(&t);
}

static void test_ipv4(void **state) {
        struct two t;
        struct frame f;

        make_two(&t, NULL);
        const uint32_t wrong[] = { t.b.address, GATEWAY4, 0xc0a84063, 0, 0x7f000001, 0xffffffff };
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                frame_udp4(&f, &t.b.mac, &t.a.mac, wrong[i], t.b.address, 1000, 2000, "x", 1);
                assert_false(a_to_b(&t, &f));
        }
        end_two(&t);
}

static void test_fragments(void **state) {
        struct two t;
        struct frame f;
        char data[64] = "\3\xe8\7\xd0\2\0\0\0";

        make_two(&t, NULL);
        frame_ipv4(&f, &t.b.mac, &t.a.mac, t.a.address, t.b.address, IPPROTO_UDP, 0, true, data,
                   sizeof(data));
        assert_true(a_to_b(&t, &f));
        /* What stands where a later fragment's ports would be is data. */
        memcpy(data, "\0\x43\0\x44", 4);
        frame_ipv4(&f, &t.b.mac, &t.a.mac, t.a.address, t.b.address, IPPROTO_UDP, 64, false, data,
                   sizeof(data));
        assert_true(a_to_b(&t, &f));
        frame_ipv4(&f, &t.b.mac, &t.a.mac, t.b.address, t.b.address, IPPROTO_UDP, 64, false, data,
                   sizeof(data));
        assert_false(a_to_b(&t, &f));
        end_two(&t);
}

static void test_fragments6(void **state) {
        struct two t;
        struct frame f;
        /* A fragment header: next header, offset in units of 8 bytes and 1 for more to come; then 24 bytes.
         */
        uint8_t data[32] = { IPPROTO_ICMPV6, 0, 0, 1, 0, 0, 0, 1 };
        struct in6_addr own;

        make_two(&t, NULL);
        data[8] = 128;
        frame_ipv6(&f, &t.b.mac, &t.a.mac, PREFIX ":2", PREFIX ":3", IPPROTO_FRAGMENT, data, sizeof(data));
        assert_true(a_to_b(&t, &f));
        assert_int_equal(ipv6_parse(PREFIX ":2", &own), 0);
        memcpy(data + 16, &own, sizeof(own));
        data[8] = 136;
        frame_ipv6(&f, &t.b.mac, &t.a.mac, PREFIX ":2", PREFIX ":3", IPPROTO_FRAGMENT, data, sizeof(data));
        assert_false(a_to_b(&t, &f));
        /* What looks like a router advertisement in a later fragment is data. */
        data[3] = 24;
        data[8] = 134;
        frame_ipv6(&f, &t.b.mac, &t.a.mac, PREFIX ":2", PREFIX ":3", IPPROTO_FRAGMENT, data, sizeof(data));
        assert_true(a_to_b(&t, &f));
        frame_ipv6(&f, &t.b.mac, &t.a.mac, PREFIX ":1", PREFIX ":3", IPPROTO_FRAGMENT, data, sizeof(data));
        assert_false(a_to_b(&t, &f));
        end_two(&t);
}

static void test_dhcp_server(void **state) {
        struct two t;
        struct frame f;

        make_two(&t, NULL);
        /* Clients look at the port they listen on, and hardly one at the server's. */
        frame_udp4(&f, &t.b.mac, &t.a.mac, t.a.address, t.b.address, 67, 68, "offer", 5);
        assert_false(a_to_b(&t, &f));
        frame_udp4(&f, &frame_broadcast, &t.a.mac, t.a.address, INADDR_BROADCAST, 67, 68, "offer", 5);
        assert_false(a_to_b(&t, &f));
        frame_udp4(&f, &frame_broadcast, &t.a.mac, t.a.address, INADDR_BROADCAST, 4000, 68, "offer", 5);
        assert_false(a_to_b(&t, &f));
        frame_udp6(&f, &t.b.mac, &t.a.mac, t.local_a, t.local_b, 547, 546);
        assert_false(a_to_b(&t, &f));
        frame_udp6(&f, &t.b.mac, &t.a.mac, t.local_a, t.local_b, 4000, 546);
        assert_false(a_to_b(&t, &f));
        end_two(&t);
}

/* In another's name a VM could decline the other's address, and the server would not give it for a while. */
static void test_dhcp_client(void **state) {
        struct two t;
        char forged[300] = "\1\1\6";
        struct frame f;

        make_two(&t, NULL);
        frame_discover(&f, &t.a.mac, &t.a.mac, 0xffff0001);
        assert_true(a_to_b(&t, &f));
        frame_discover(&f, &t.a.mac, &t.b.mac, 0xffff0002);
        assert_false(a_to_b(&t, &f));
        memcpy(forged + 28, &t.b.mac, 6);
        frame_udp4(&f, &frame_broadcast, &t.a.mac, t.a.address, INADDR_BROADCAST, 1000, 67, forged,
                   sizeof(forged));
        assert_false(a_to_b(&t, &f));
        /* Nor in two fragments, of which the first has no more than the ports. */
        frame_ipv4(&f, &frame_broadcast, &t.a.mac, t.a.address, INADDR_BROADCAST, IPPROTO_UDP, 0, true,
                   "\0\x44\0\x43\1\x34\0\0", 8);
        assert_false(a_to_b(&t, &f));
        memcpy(forged + 28, &t.a.mac, 6);
        frame_udp4(&f, &frame_broadcast, &t.a.mac, t.a.address, INADDR_BROADCAST, 1000, 67, forged,
                   sizeof(forged));
        assert_true(a_to_b(&t, &f));
        end_two(&t);
}

static void test_routers_and_queriers(void **state) {
        struct two t;
        struct frame f;

        make_two(&t, NULL);
        frame_discovery(&f, &t.a.mac, t.local_a, "ff02::1", 134, NULL);
        assert_false(a_to_b(&t, &f));
        frame_discovery(&f, &t.a.mac, t.local_a, t.local_b, 137, PREFIX ":1");
        assert_false(a_to_b(&t, &f));
        /* Queries of a group make a bridge forget its members (RFC 4541), and they are the router's to ask.
         */
        frame_discovery(&f, &t.a.mac, t.local_a, "ff02::1", 130, "::");
        assert_false(a_to_b(&t, &f));
        frame_ipv4(&f, &frame_broadcast, &t.a.mac, t.a.address, 0xe0000001, IPPROTO_IGMP, 0, false,
                   "\x11\1\0\0\0\0\0\0", 8);
        assert_false(a_to_b(&t, &f));
        end_two(&t);
}

static void test_neighbour_advertisements(void **state) {
        struct two t;
        struct frame f;

        make_two(&t, NULL);
        frame_discovery(&f, &t.a.mac, t.local_a, t.local_b, 136, PREFIX ":3");
        assert_false(a_to_b(&t, &f));
        frame_discovery(&f, &t.a.mac, t.local_a, t.local_b, 136, PREFIX ":1");
        assert_false(a_to_b(&t, &f));
        frame_discovery(&f, &t.a.mac, t.local_a, t.local_b, 136, "fe80::1");
        assert_false(a_to_b(&t, &f));
        frame_discovery(&f, &t.a.mac, t.local_a, t.local_b, 136, PRIVATE);
        assert_false(a_to_b(&t, &f));
        frame_discovery(&f, &t.a.mac, "::", "ff02::1", 136, PREFIX ":3");
        assert_false(a_to_b(&t, &f));
        /* Cut off before its target. */
        frame_ipv6(&f, &t.b.mac, &t.a.mac, t.local_a, t.local_b, IPPROTO_ICMPV6, "\x88\0\0\0\x20\0\0\0", 8);
        assert_false(a_to_b(&t, &f));
        end_two(&t);
}

static void test_ipv6(void **state) {
        struct two t;
        struct frame f;

        make_two(&t, NULL);
        const char *const wrong[] = { PREFIX ":3",           PREFIX ":1", PREFIX ":0", "fe80::1", t.local_b,
                                      "2001:db8::1",         "::1",       "ff02::1",   "::",      "fe80:1::5",
                                      "fd12:3456:789a:41::5" };
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                frame_udp6(&f, &t.b.mac, &t.a.mac, wrong[i], PREFIX ":3", 1000, 2000);
                if (a_to_b(&t, &f))
                        fail_msg("a frame from %s passes", wrong[i]);
        }
        /* What looks like a probe's target is none in another protocol. */
        uint8_t data[24] = { 0x03, 0xe8, 0x07, 0xd0, 0, 24 };
        struct in6_addr own;
        assert_int_equal(ipv6_parse(PREFIX ":2", &own), 0);
        memcpy(data + 8, &own, sizeof(own));
        frame_ipv6(&f, &t.b.mac, &t.a.mac, "::", PREFIX ":3", IPPROTO_UDP, data, sizeof(data));
        assert_false(a_to_b(&t, &f));
        end_two(&t);
}

/* An address that a VM chose is its own as long as its port lives. */
static void test_first_come(void **state) {
        struct two t;
        struct frame f;

        make_two(&t, NULL);
        frame_udp6(&f, &t.b.mac, &t.a.mac, PRIVATE, PREFIX ":3", 1000, 2000);
        assert_true(a_to_b(&t, &f));
        assert_true(a_to_b(&t, &f));
        frame_discovery(&f, &t.a.mac, PRIVATE, t.local_b, 136, PRIVATE);
        assert_true(a_to_b(&t, &f));
        frame_udp6(&f, &t.a.mac, &t.b.mac, PRIVATE, PREFIX ":2", 1000, 2000);
        assert_false(frame_passes(&f, &t.b, &t.a));

        world_unplug(&t.world, &t.a);
        t.a = world_start(&t.world, (struct port_request){ .name = "a" });
        frame_udp6(&f, &t.a.mac, &t.b.mac, PRIVATE, PREFIX ":2", 1000, 2000);
        assert_true(frame_passes(&f, &t.b, &t.a));
        frame_udp6(&f, &t.b.mac, &t.a.mac, PRIVATE, PREFIX ":3", 1000, 2000);
        assert_false(a_to_b(&t, &f));
        end_two(&t);
}

/* Who asks whether an address is free (RFC 4862, section 5.4) has it: nobody can take it or say that it is
 * not. */
static void test_probes(void **state) {
        struct two t;
        struct frame f;

        make_two(&t, NULL);
        frame_discovery(&f, &t.a.mac, "::", "ff02::1", 135, PRIVATE);
        assert_true(a_to_b(&t, &f));
        frame_discovery(&f, &t.b.mac, "::", "ff02::1", 135, PRIVATE);
        assert_false(frame_passes(&f, &t.b, &t.a));
        frame_udp6(&f, &t.a.mac, &t.b.mac, PRIVATE, PREFIX ":2", 1000, 2000);
        assert_false(frame_passes(&f, &t.b, &t.a));
        frame_udp6(&f, &t.b.mac, &t.a.mac, PRIVATE, PREFIX ":3", 1000, 2000);
        assert_true(a_to_b(&t, &f));

        frame_discovery(&f, &t.b.mac, "::", "ff02::1", 135, PREFIX ":3");
        assert_true(frame_passes(&f, &t.b, &t.a));
        frame_discovery(&f, &t.a.mac, "::", "ff02::1", 135, PREFIX ":3");
        assert_false(a_to_b(&t, &f));
        end_two(&t);
}

/* The address of a VM that is yet to come can be guessed: who sits on it loses it to the one it is given to.
 */
static void test_squatter(void **state) {
        struct two t;
        struct mac known = { { 0x52, 0x54, 0, 0x12, 0x34, 0x56 } };
        const struct in6_addr prefix = { .s6_addr = { 0xfe, 0x80 } };
        struct in6_addr address = address_eui64(&prefix, &known);
        char local_c[INET6_ADDRSTRLEN];
        struct frame f;

        make_two(&t, NULL);
        ipv6_format(&address, local_c);
        frame_udp6(&f, &t.b.mac, &t.a.mac, PREFIX ":4", PREFIX ":3", 1000, 2000);
        a_to_b(&t, &f);
        frame_udp6(&f, &t.b.mac, &t.a.mac, local_c, t.local_b, 1000, 2000);
        a_to_b(&t, &f);

        struct nic c = world_start(&t.world, (struct port_request){ .mac = "52:54:00:12:34:56" });
        assert_int_equal(c.address, 0xc0a84004U);
        frame_udp6(&f, &t.b.mac, &t.a.mac, PREFIX ":4", PREFIX ":3", 1000, 2000);
        assert_false(a_to_b(&t, &f));
        frame_udp6(&f, &t.b.mac, &t.a.mac, local_c, t.local_b, 1000, 2000);
        assert_false(a_to_b(&t, &f));
        frame_udp6(&f, &t.b.mac, &c.mac, local_c, t.local_b, 1000, 2000);
        assert_true(frame_passes(&f, &c, &t.b));

        /* And the end of the squatter is none of the owner's. */
        world_unplug(&t.world, &t.a);
        t.a = world_start(&t.world, (struct port_request){ .name = "a2" });
        frame_udp6(&f, &t.b.mac, &t.a.mac, local_c, t.local_b, 1000, 2000);
        assert_false(a_to_b(&t, &f));
        world_unplug(&t.world, &c);
        end_two(&t);
}

/* A port has so many addresses, and can use up only its own. */
static void test_exhaustion(void **state) {
        struct two t;
        char address[INET6_ADDRSTRLEN];
        unsigned passed = 0;
        struct frame f;

        make_two(&t, NULL);
        for (unsigned i = 0; i < 3 * RULESET_ADDRESSES; i++) {
                snprintf(address, sizeof(address), PREFIX "aaaa:bbbb:cccc:%x", i + 1);
                frame_udp6(&f, &t.b.mac, &t.a.mac, address, PREFIX ":3", 1000, 2000);
                passed += a_to_b(&t, &f);
        }
        assert_in_range(passed, RULESET_ADDRESSES / 2, RULESET_ADDRESSES);
        frame_udp6(&f, &t.b.mac, &t.a.mac, PREFIX ":2", PREFIX ":3", 1000, 2000);
        assert_true(a_to_b(&t, &f));
        frame_udp6(&f, &t.a.mac, &t.b.mac, PRIVATE, PREFIX ":2", 1000, 2000);
        assert_true(frame_passes(&f, &t.b, &t.a));
        end_two(&t);
}

static void test_other_protocols(void **state) {
        struct two t;
        struct frame f, inner;

        make_two(&t, NULL);
        frame_udp4(&inner, &t.b.mac, &t.a.mac, t.a.address, t.b.address, 1000, 2000, "x", 1);
        frame_ethernet(&f, &t.b.mac, &t.a.mac, ETHERTYPE_VLAN);
        frame_put_16(&f, 5);
        frame_put(&f, inner.bytes + 12, inner.size - 12);
        assert_false(a_to_b(&t, &f));
        f.bytes[15] = 0; /* a tag of priority alone */
        assert_false(a_to_b(&t, &f));
        frame_ethernet(&f, &t.b.mac, &t.a.mac, 0x88a8);
        frame_put_16(&f, 5);
        frame_put(&f, inner.bytes + 12, inner.size - 12);
        assert_false(a_to_b(&t, &f));
        frame_ethernet(&f, &frame_broadcast, &t.a.mac, 0x8863); /* PPPoE */
        frame_put(&f, "hello", 5);
        assert_false(a_to_b(&t, &f));
        frame_ethernet(&f, &frame_broadcast, &t.a.mac, 0x0026); /* 802.3, as spanning trees use it */
        frame_put(&f, (uint8_t[38]){ 0x42, 0x42, 3 }, 38);
        assert_false(a_to_b(&t, &f));
        end_two(&t);
}

/* Isolated is from all VMs, not from other isolated ones alone. */
static void check_isolation(const char *changes) {
        struct two t;
        struct frame f;

        make_two(&t, changes);
        struct nic c = world_start(&t.world, (struct port_request){ .name = "c", .isolated = true });
        struct nic d = world_start(&t.world, (struct port_request){ .name = "d", .isolated = true });
        frame_udp4(&f, &t.a.mac, &c.mac, c.address, t.a.address, 1000, 2000, "x", 1);
        assert_false(frame_passes_heralded(&f, &c, &t.a, &t.b));
        frame_arp(&f, &c.mac, 1, &c.mac, c.address, t.a.address);
        assert_false(frame_passes_heralded(&f, &c, &t.a, &t.b));
        world_unplug(&t.world, &c);
        world_unplug(&t.world, &d);
        end_two(&t);
}

static void test_isolation(void **state) {
        check_isolation(NULL);
        check_isolation("{\"anti_spoofing\":false}");
}

/* Without DHCP, IPv4 addresses too belong to the first. */
static void test_without_dhcp(void **state) {
        struct two t;
        struct frame f;

        make_two(&t, "{\"dhcp\":false}");
        frame_udp4(&f, &t.b.mac, &t.a.mac, 0xc0a84032, 0xc0a84033, 1000, 2000, "x", 1);
        assert_false(a_to_b(&t, &f)); /* not before it has been heard of by ARP */
        frame_arp(&f, &t.a.mac, 1, &t.a.mac, 0xc0a84032, 0xc0a84033);
        assert_true(a_to_b(&t, &f));
        frame_udp4(&f, &t.b.mac, &t.a.mac, 0xc0a84032, 0xc0a84033, 1000, 2000, "x", 1);
        assert_true(a_to_b(&t, &f));
        frame_arp(&f, &t.b.mac, 1, &t.b.mac, 0xc0a84032, 0xc0a84033);
        assert_false(frame_passes(&f, &t.b, &t.a));
        frame_arp(&f, &t.a.mac, 1, &t.a.mac, GATEWAY4, 0xc0a84033);
        assert_false(a_to_b(&t, &f));

        world_unplug(&t.world, &t.a);
        t.a = world_start(&t.world, (struct port_request){ .name = "a" });
        frame_arp(&f, &t.b.mac, 1, &t.b.mac, 0xc0a84032, 0xc0a84033);
        assert_true(frame_passes(&f, &t.b, &t.a));
        end_two(&t);
}

static void test_switched_off(void **state) {
        struct two t;
        const struct mac nested = { { 2, 0, 0, 0, 0, 1 } };
        struct frame f;

        make_two(&t, "{\"anti_spoofing\":false}");
        frame_udp4(&f, &t.b.mac, &nested, 0xc0a84032, t.b.address, 1000, 2000, "x", 1);
        assert_true(a_to_b(&t, &f));
        end_two(&t);
}

HARNESS_MAIN(cmocka_unit_test(test_own), cmocka_unit_test(test_mac),
             cmocka_unit_test(test_reserved_groups_teach_nothing), cmocka_unit_test(test_arp),
             cmocka_unit_test(test_ipv4), cmocka_unit_test(test_fragments), cmocka_unit_test(test_fragments6),
             cmocka_unit_test(test_dhcp_server), cmocka_unit_test(test_dhcp_client),
             cmocka_unit_test(test_routers_and_queriers), cmocka_unit_test(test_neighbour_advertisements),
             cmocka_unit_test(test_ipv6), cmocka_unit_test(test_first_come), cmocka_unit_test(test_probes),
             cmocka_unit_test(test_squatter), cmocka_unit_test(test_exhaustion),
             cmocka_unit_test(test_other_protocols), cmocka_unit_test(test_isolation),
             cmocka_unit_test(test_without_dhcp), cmocka_unit_test(test_switched_off))
