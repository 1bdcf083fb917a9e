/* network/configuration */
#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "world.h"

/* Takes apart a `configure` with these changes. */
static int init(struct configuration *ret, const char *changes, struct error *error) {
        json_t *body = world_configure("/tmp/x", changes);
        int r = configuration_init(ret, body, error);

        json_decref(body);
        return r;
}

static void test_values(void **state) {
        struct configuration c;
        struct error error = ERROR_INIT;

        assert_int_equal(
                init(&c,
                     "{\"mask\":\"255.255.255.240\",\"dhcp_reservations\":[{\"mac\":\"52:54:00:12:34:56\","
                     "\"address\":\"192.168.64.9\",\"name\":\"db\"},{\"mac\":\"02:00:00:00:00:01\","
                     "\"address\":\"192.168.64.10\"}],\"idle_timeout_ms\":120000}",
                     &error),
                0);
        assert_string_equal(c.name, "shared");
        assert_int_equal(c.mode, NETWORK_SHARED);
        assert_true(c.system);
        assert_string_equal(c.state_directory, "/tmp/x/state");
        assert_int_equal(c.gateway, 0xc0a84001U);
        assert_int_equal(c.mask, 0xfffffff0U);
        assert_true(c.ipv6);
        assert_int_equal(c.idle_timeout, 120000000);
        assert_int_equal(c.n_reservations, 2);
        assert_int_equal(c.reservations[0].address, 0xc0a84009U);
        assert_string_equal(c.reservations[0].name, "db");
        assert_string_equal(c.reservations[1].name, "");
        assert_memory_equal(c.key, "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16);
        configuration_deinit(&c);
        configuration_deinit(&c); /* fine twice */
}

static void test_user_mode_needs_no_host_ipv6(void **state) {
        struct configuration c;

        assert_int_equal(init(&c, "{\"system\":false,\"host_ipv6\":null}", NULL), 0);
        configuration_deinit(&c);
        assert_int_equal(init(&c, "{\"ipv6_prefix\":\"\",\"host_ipv6\":null}", NULL), 0);
        assert_false(c.ipv6);
        configuration_deinit(&c);
}

/* Each with a word of what is said about it. */
static void test_errors(void **state) {
        static const struct {
                const char *changes, *text;
        } cases[] = {
                { "{\"command\":\"start\"}", "configure" },
                { "{\"surprise\":1}", "surprise" },
                { "{\"name\":null}", "name" },
                { "{\"name\":7}", "name" },
                { "{\"name\":\"../x\"}", "../x" },
                { "{\"name\":\"\"}", "name" },
                { "{\"mode\":\"bridged\"}", "bridged" },
                { "{\"system\":1}", "system" },
                { "{\"runtime_directory\":null}", "runtime_directory" },
                { "{\"state_directory\":[]}", "state_directory" },
                { "{\"gateway\":\"192.168.64\"}", "192.168.64" },
                { "{\"gateway\":\"192.168.64.0\"}", "gateway" },
                { "{\"gateway\":\"192.168.64.255\"}", "gateway" },
                { "{\"mask\":\"255.255.0.255\"}", "255.255.0.255" },
                { "{\"mask\":\"255.255.255.254\"}", "255.255.255.254" },
                { "{\"mask\":\"254.0.0.0\"}", "254.0.0.0" },
                { "{\"mask\":\"0.0.0.0\"}", "0.0.0.0" },
                { "{\"mask\":\"/24\"}", "/24" },
                { "{\"ipv6_prefix\":\"fd12::/64\"}", "fd12::/64" },
                { "{\"ipv6_prefix\":\"fd12::5\"}", "fd12::5" },
                { "{\"ipv6_prefix\":null}", "ipv6_prefix" },
                { "{\"host_ipv6\":\"x\"}", "host_ipv6" },
                { "{\"host_ipv6\":null}", "host_ipv6" },
                { "{\"index\":65536}", "index" },
                { "{\"index\":-1}", "index" },
                { "{\"mtu\":1279}", "mtu" },
                { "{\"mtu\":65521}", "mtu" },
                { "{\"mtu\":1500.5}", "mtu" },
                { "{\"dhcp\":\"yes\"}", "dhcp" },
                { "{\"dns\":null}", "dns" },
                { "{\"nat44\":0}", "nat44" },
                { "{\"nat66\":0}", "nat66" },
                { "{\"router_advertisement\":0}", "router_advertisement" },
                { "{\"anti_spoofing\":0}", "anti_spoofing" },
                { "{\"idle_timeout_ms\":-1}", "idle_timeout_ms" },
                { "{\"max_interfaces_per_user\":0}", "max_interfaces_per_user" },
                { "{\"key\":\"00\"}", "key" },
                { "{\"key\":\"00112233445566778899aabbccddeeffx\"}", "key" },
                { "{\"key\":\"0011223344556677 899aabbccddeeff\"}", "key" },
                { "{\"dhcp_reservations\":{}}", "dhcp_reservations" },
                { "{\"dhcp_reservations\":[7]}", "dhcp_reservations" },
                { "{\"dhcp_reservations\":[{}]}", "mac" },
                { "{\"dhcp_reservations\":[{\"mac\":\"x\",\"address\":\"192.168.64.9\"}]}", "\"x\"" },
                { "{\"dhcp_reservations\":[{\"mac\":\"01:00:00:00:00:01\",\"address\":\"192.168.64.9\"}]}",
                  "unicast" },
                { "{\"dhcp_reservations\":[{\"mac\":\"02:00:00:00:00:01\",\"address\":\"192.168.65.9\"}]}",
                  "192.168.65.9" },
                { "{\"dhcp_reservations\":[{\"mac\":\"02:00:00:00:00:01\",\"address\":\"192.168.64.9\","
                  "\"name\":"
                  "\"a b\"}]}",
                  "a b" },
                { "{\"dhcp_reservations\":[{\"mac\":\"02:00:00:00:00:01\",\"address\":\"192.168.64.9\","
                  "\"name\":"
                  "\"a\\nserver=192.0.2.1\"}]}",
                  "label" },
                { "{\"dhcp_reservations\":[{\"mac\":\"02:00:00:00:00:01\",\"address\":\"192.168.64.9\"},{}]}",
                  "mac" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct configuration c;
                struct error error = ERROR_INIT;

                int r = init(&c, cases[i].changes, &error);
                if (r >= 0)
                        fail_msg("%s is accepted", cases[i].changes);
                assert_int_equal(r, -EINVAL);
                if (!strstr(error.text, cases[i].text))
                        fail_msg("%s: \"%s\" does not name \"%s\"", cases[i].changes, error.text,
                                 cases[i].text);
        }
}

static const char *fact(json_t *facts, const char *key) {
        const char *text = json_string_value(json_object_get(facts, key));

        return text ? text : "";
}

static void test_facts(void **state) {
        struct configuration c;

        assert_int_equal(init(&c, NULL, NULL), 0);
        json_t *facts = configuration_facts(&c);
        assert_string_equal(fact(facts, "subnet"), "192.168.64.0");
        assert_string_equal(fact(facts, "gateway"), "192.168.64.1");
        assert_string_equal(fact(facts, "start_address"), "192.168.64.2");
        assert_string_equal(fact(facts, "end_address"), "192.168.64.254");
        assert_string_equal(fact(facts, "ipv6_prefix"), "fd12:3456:789a:40::");
        assert_string_equal(fact(facts, "ipv6_gateway"), "fd12:3456:789a:40::1");
        assert_string_equal(fact(facts, "domain"), "berth.internal");
        json_decref(facts);
        configuration_deinit(&c);

        assert_int_equal(
                init(&c, "{\"gateway\":\"10.9.9.254\",\"ipv6_prefix\":\"\",\"mode\":\"host\"}", NULL), 0);
        facts = configuration_facts(&c);
        assert_string_equal(fact(facts, "mode"), "host");
        assert_string_equal(fact(facts, "start_address"), "10.9.9.1");
        assert_string_equal(fact(facts, "end_address"), "10.9.9.253");
        assert_null(json_object_get(facts, "ipv6_prefix"));
        json_decref(facts);
        configuration_deinit(&c);
}

static void test_address6(void **state) {
        struct configuration c;
        struct in6_addr address;
        char text[INET6_ADDRSTRLEN];

        assert_int_equal(init(&c, NULL, NULL), 0);
        address = configuration_address6(&c, 0x00012345);
        assert_string_equal(ipv6_format(&address, text), "fd12:3456:789a:40::1:2345");
        configuration_deinit(&c);
}

HARNESS_MAIN(cmocka_unit_test(test_values), cmocka_unit_test(test_user_mode_needs_no_host_ipv6),
             cmocka_unit_test(test_errors), cmocka_unit_test(test_facts), cmocka_unit_test(test_address6))
