/* network/ruleset: what the kernel takes, and what is left of it. What it does to frames is in test-guard.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "frame.h"
#include "network/ruleset.h"

static struct configuration configure(const char *changes) {
        struct configuration c = {};
        struct error error = ERROR_INIT;
        json_t *body = world_configure("/tmp", changes);

        if (configuration_init(&c, body, &error) < 0)
                fail_msg("%s", error.text);
        json_decref(body);
        return c;
}

/* Every combination of what can be switched. */
static void test_all_networks(void **state) {
        static const char *const yes_no[] = { "false", "true" };

        world_enter();
        for (unsigned i = 0; i < 1U << 8; i++) {
                _cleanup_free_ char *changes = text_format(
                        "{\"mode\":\"%s\",\"dhcp\":%s,\"dns\":%s,\"nat44\":%s,\"nat66\":%s,\"anti_spoofing\":"
                        "%s,"
                        "\"ipv6_prefix\":\"%s\"}",
                        i & 1 ? "shared" : "host", yes_no[i >> 1 & 1], yes_no[i >> 2 & 1], yes_no[i >> 3 & 1],
                        yes_no[i >> 4 & 1], yes_no[i >> 5 & 1], i & 1 << 6 ? "fd12::" : "");
                struct configuration c = configure(changes);
                struct ruleset_uplink uplink = { .masquerade = i >> 7 & 1, .host4 = i & 2 ? 0xa9fe4001 : 0 };
                const struct ruleset_port ports[] = {
                        { .name = "port1",
                          .mac = { { 2, 0, 0, 0, 0, 1 } },
                          .address = c.dhcp ? 0xc0a84002 : 0 },
                        { .name = "port12345",
                          .mac = { { 2, 0, 0, 0, 0, 2 } },
                          .address = c.dhcp ? 0xc0a84003 : 0,
                          .isolated = true },
                };
                struct error error = ERROR_INIT;

                if (i & 4)
                        uplink.host6 = (struct in6_addr){ .s6_addr = { 0xfd, [15] = 1 } };
                if (ruleset_set_network(&c, &uplink, ports, i % 3, &error) < 0)
                        fail_msg("%s: %s", changes, error.text);
                /* What a port's own rules differ by. */
                if ((i & ~(1U << 1 | 1U << 5 | 1U << 6)) == 0 &&
                    ((i % 3 < 2 && ruleset_add_port(&c, &ports[1], &error) < 0) ||
                     ruleset_remove_ports(&c, &ports[1], 1, &error) < 0))
                        fail_msg("%s: %s", changes, error.text);
                configuration_deinit(&c);
        }
}

static void test_host_side(void **state) {
        world_enter();
        _cleanup_fd_ int host = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        world_enter();
        for (unsigned i = 0; i < 8; i++) {
                _cleanup_free_ char *changes = text_format(
                        "{\"nat44\":%s,\"nat66\":%s,\"ipv6_prefix\":\"%s\",\"index\":%u}",
                        i & 1 ? "true" : "false", i & 2 ? "true" : "false", i & 4 ? "fd12::" : "", i);
                struct configuration c = configure(changes);
                struct error error = ERROR_INIT;

                for (int again = 0; again < 2; again++)
                        if (ruleset_set_host(&c, host, "berth64", &error) < 0)
                                fail_msg("%s: %s", changes, error.text);
                /* It stands in the host's namespace, not in this one. */
                _cleanup_free_ char *command = text_format("nft list table inet berth_%u >/dev/null 2>&1", i);
                assert_int_not_equal(system(command), 0);
                assert_int_equal(ruleset_remove_host(&c, host, &error), 0);
                assert_int_equal(ruleset_remove_host(&c, host, &error), 0);
                configuration_deinit(&c);
        }
}

static void test_host_addresses(void **state) {
        struct configuration c = configure(NULL);
        struct ruleset_uplink uplink = {};
        struct error error = ERROR_INIT;

        world_enter();
        assert_int_equal(ruleset_set_network(&c, &uplink, NULL, 0, &error), 0);
        assert_int_equal(ruleset_set_host_addresses("192.0.2.1, 192.0.2.2, 192.0.2.1",
                                                    "2001:db8::1, 2001:db8::1", &error),
                         0);
        _cleanup_free_ char *rules = world_rules("inet");
        assert_non_null(strstr(rules, "192.0.2.2"));
        assert_non_null(strstr(rules, "2001:db8::1"));
        assert_int_equal(ruleset_set_host_addresses("", "", &error), 0);
        _cleanup_free_ char *after = world_rules("inet");
        assert_null(strstr(after, "192.0.2.2"));
        configuration_deinit(&c);
}

/* A refused transaction changes nothing and says why. */
static void test_refused(void **state) {
        struct configuration c = configure(NULL);
        struct error error = ERROR_INIT;

        world_enter();
        assert_int_equal(ruleset_set_host_addresses("192.0.2.1", "", &error), -EINVAL); /* no table yet */
        assert_non_null(strstr(error.text, "nftables"));
        const struct ruleset_port port = { .name = "port1", .mac = { { 2 } }, .address = 0xc0a84002 };
        assert_int_equal(ruleset_add_port(&c, &port, &error), -EINVAL);
        _cleanup_free_ char *rules = world_rules("bridge");
        assert_string_equal(rules, "");
        assert_int_equal(ruleset_remove_ports(&c, &port, 1, &error), -EINVAL);
        configuration_deinit(&c);
}

/* With a port goes all that it had learned; with the last one nothing differs from before the first. */
static void test_release(void **state) {
        struct world world;
        char address[INET6_ADDRSTRLEN];
        struct frame f;

        world_make(&world, NULL);
        _cleanup_free_ char *before = world_rules("bridge");
        struct nic a = world_start(&world, (struct port_request){ .name = "a" });
        struct nic b = world_start(&world, (struct port_request){ .name = "b" });
        for (unsigned i = 1; i < 20; i++) { /* enough for a set to be listed on several lines */
                snprintf(address, sizeof(address), "fd12:3456:789a:40:1:2:3:%x", i);
                frame_udp6(&f, &b.mac, &a.mac, address, "fd12:3456:789a:40::3", 1, 2);
                assert_true(frame_passes(&f, &a, &b));
        }
        _cleanup_free_ char *during = world_rules("bridge");
        assert_non_null(strstr(during, "0xfd123456789a00400001000200030005"));
        world_unplug(&world, &a);
        world_unplug(&world, &b);
        _cleanup_free_ char *after = world_rules("bridge");
        assert_null(strstr(after, "0xfd123456789a0040000100020003"));
        assert_null(strstr(after, "port1"));
        assert_non_null(strstr(before, "set taken6"));
        world_end(&world);
}

HARNESS_MAIN(cmocka_unit_test(test_all_networks), cmocka_unit_test(test_host_side),
             cmocka_unit_test(test_host_addresses), cmocka_unit_test(test_refused),
             cmocka_unit_test(test_release))
