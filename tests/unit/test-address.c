/* base/address */
#include "harness.h"

#include <errno.h>
#include <string.h>

#include "base/address.h"
#include "base/memory.h"

static void test_mac_text(void **state) {
        struct mac mac = { { 9, 9, 9, 9, 9, 9 } };
        char text[MAC_TEXT_SIZE];

        assert_int_equal(mac_parse("52:54:00:aB:Cd:ef", &mac), 0);
        assert_memory_equal(mac.octets, "\x52\x54\x00\xab\xcd\xef", 6);
        assert_string_equal(mac_format(&mac, text), "52:54:00:ab:cd:ef");
}

static void test_mac_refused(void **state) {
        static const char *const bad[] = {
                "",
                "52",
                "52:54:00:ab:cd",
                "52:54:00:ab:cd:e",
                "52:54:00:ab:cd:ef:",
                "52:54:00:ab:cd:ef:01",
                "52-54-00-ab-cd-ef",
                "52:54:00:ab:cd:eg",
                "52:54:00:ab:cd:ef ",
                " 2:54:00:ab:cd:ef",
                "5:254:00:ab:cd:ef",
                "525400abcdef00000",
                "+2:54:00:ab:cd:ef",
        };
        struct mac mac = { { 1, 2, 3, 4, 5, 6 } };

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(mac_parse(bad[i], &mac), -EINVAL);
        assert_memory_equal(mac.octets, "\1\2\3\4\5\6", 6);
}

static void test_mac_unicast(void **state) {
        struct mac a, b;

        assert_int_equal(mac_parse("02:00:00:00:00:00", &a), 0);
        assert_true(mac_is_unicast(&a));
        assert_int_equal(mac_parse("02:00:00:00:00:01", &b), 0);
        assert_false(mac_equal(&a, &b));
        assert_true(mac_equal(&a, &a));
        assert_int_equal(mac_parse("00:00:00:00:00:00", &a), 0);
        assert_false(mac_is_unicast(&a));
        assert_int_equal(mac_parse("ff:ff:ff:ff:ff:ff", &a), 0);
        assert_false(mac_is_unicast(&a));
        assert_int_equal(mac_parse("01:00:5e:00:00:01", &a), 0);
        assert_false(mac_is_unicast(&a));
}

/* The example of RFC 4291, appendix A: 34-56-78-9A-BC-DE becomes 36-56-78-FF-FE-9A-BC-DE. */
static void test_eui64(void **state) {
        struct in6_addr prefix, address;
        char text[INET6_ADDRSTRLEN];
        struct mac mac;

        assert_int_equal(mac_parse("34:56:78:9a:bc:de", &mac), 0);
        assert_int_equal(ipv6_parse("fd00:1:2:3:ffff:ffff:ffff:ffff", &prefix), 0);
        address = address_eui64(&prefix, &mac);
        assert_string_equal(ipv6_format(&address, text), "fd00:1:2:3:3656:78ff:fe9a:bcde");
}

static void test_ipv4(void **state) {
        static const char *const bad[] = {
                "",
                "192.168.64",
                "192.168.64.256",
                "192.168.64.1 ",
                " 192.168.64.1",
                "0x7f.0.0.1",
                "1.2.3.4.5",
                "192.168.64.1/24",
                "localhost",
                "3232235777",
                "192.168.064.1",
        };
        char text[INET_ADDRSTRLEN];
        uint32_t address = 7;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(ipv4_parse(bad[i], &address), -EINVAL);
        assert_int_equal(address, 7);
        assert_int_equal(ipv4_parse("192.168.64.1", &address), 0);
        assert_int_equal(address, 0xc0a84001);
        assert_string_equal(ipv4_format(0xfffffffe, text), "255.255.255.254");
}

static void test_ipv4_mask(void **state) {
        for (unsigned length = 0; length <= 32; length++)
                assert_int_equal(ipv4_mask_length(ipv4_length_mask(length)), length);
        assert_int_equal(ipv4_length_mask(24), 0xffffff00);
        assert_int_equal(ipv4_mask_length(0xff00ff00), -EINVAL);
        assert_int_equal(ipv4_mask_length(0x000000ff), -EINVAL);
        assert_int_equal(ipv4_mask_length(1), -EINVAL);
}

static void test_ipv6(void **state) {
        struct in6_addr address = in6addr_loopback;
        char text[INET6_ADDRSTRLEN];

        assert_int_equal(ipv6_parse("fd00::1%eth0", &address), -EINVAL);
        assert_int_equal(ipv6_parse("fd00::1/64", &address), -EINVAL);
        assert_int_equal(ipv6_parse("1.2.3.4", &address), -EINVAL);
        assert_string_equal(ipv6_format(&address, text), "::1");
        assert_int_equal(ipv6_parse("FD00:0:0:0::1", &address), 0);
        assert_string_equal(ipv6_format(&address, text), "fd00::1");
}

HARNESS_MAIN(cmocka_unit_test(test_mac_text), cmocka_unit_test(test_mac_refused),
             cmocka_unit_test(test_mac_unicast), cmocka_unit_test(test_eui64), cmocka_unit_test(test_ipv4),
             cmocka_unit_test(test_ipv4_mask), cmocka_unit_test(test_ipv6))
