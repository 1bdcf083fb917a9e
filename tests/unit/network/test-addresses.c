/* network/addresses */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "world.h"

#define SUBNET 0xc0a84000U

/* Addresses with their configuration and a directory for the memory. */
struct book {
        char *directory;
        struct configuration configuration;
        struct addresses *addresses;
};

static const struct mac some_mac = { { 2, 0, 0, 0, 0, 9 } };

static void open_book(struct book *book, const char *changes) {
        struct error error = ERROR_INIT;

        *book = (struct book){ .directory = harness_make_directory() };
        json_t *body = world_configure(book->directory, changes);
        assert_int_equal(configuration_init(&book->configuration, body, &error), 0);
        json_decref(body);
        assert_int_equal(mkdir(book->configuration.state_directory, 0755), 0);
        assert_int_equal(addresses_new(&book->addresses, &book->configuration, &error), 0);
}

/* As after the end of everything. */
static void reopen(struct book *book) {
        addresses_free(book->addresses);
        assert_int_equal(addresses_new(&book->addresses, &book->configuration, NULL), 0);
}

static void close_book(struct book *book) {
        addresses_free(book->addresses);
        configuration_deinit(&book->configuration);
        harness_remove_directory(book->directory);
}

static int try(struct book *book, const char *identity, uint32_t wanted, uint32_t *ret) {
        return addresses_take(book->addresses, identity, &some_mac, wanted, ret, NULL);
}

/* The host number taken. */
static uint32_t take(struct book *book, const char *identity, uint32_t wanted_host) {
        uint32_t address = 0;

        assert_int_equal(try(book, identity, wanted_host ? SUBNET + wanted_host : 0, &address), 0);
        return address - SUBNET;
}

static void give(struct book *book, uint32_t host) {
        addresses_give(book->addresses, SUBNET + host);
}

static void test_identity_keeps_its_address(void **state) {
        struct book book;

        open_book(&book, NULL);
        assert_int_equal(take(&book, "name:a", 0), 2);
        assert_int_equal(take(&book, "name:b", 0), 3);
        assert_int_equal(take(&book, NULL, 0), 4);
        give(&book, 2);
        give(&book, 3);
        give(&book, 4);
        assert_int_equal(take(&book, NULL, 0), 4); /* .2 and .3 are somebody's */
        reopen(&book);
        assert_int_equal(take(&book, "name:b", 0), 3);
        assert_int_equal(take(&book, "name:c", 0), 4);
        assert_int_equal(take(&book, "name:a", 0), 2);
        close_book(&book);
}

static void test_wanted(void **state) {
        struct book book;
        uint32_t address;

        open_book(&book, NULL);
        assert_int_equal(take(&book, "name:a", 77), 77);
        assert_int_equal(try(&book, "name:b", SUBNET + 77, &address), -EADDRINUSE);
        assert_int_equal(try(&book, "name:b", SUBNET + 1, &address), -EINVAL);
        assert_int_equal(try(&book, "name:b", SUBNET, &address), -EINVAL);
        assert_int_equal(try(&book, "name:b", SUBNET + 255, &address), -EINVAL);
        assert_int_equal(try(&book, "name:b", SUBNET + 256 + 9, &address), -EINVAL);
        assert_int_equal(try(&book, "name:b", 1, &address), -EINVAL);
        give(&book, 77);
        /* The identity moves, and keeps the new one. */
        assert_int_equal(take(&book, "name:a", 78), 78);
        give(&book, 78);
        reopen(&book);
        assert_int_equal(take(&book, "name:a", 0), 78);
        assert_int_equal(take(&book, "name:b", 77), 77);
        close_book(&book);
}

static void test_reservation(void **state) {
        struct book book;
        struct mac reserved = { { 0x52, 0x54, 0, 0, 0, 1 } };
        uint32_t address;

        open_book(&book,
                  "{\"dhcp_reservations\":[{\"mac\":\"52:54:00:00:00:01\",\"address\":\"192.168.64.2\"}]}");
        assert_int_equal(take(&book, "name:a", 0), 3);
        assert_int_equal(try(&book, "name:b", SUBNET + 2, &address), -EADDRINUSE);
        assert_int_equal(addresses_take(book.addresses, "name:c", &reserved, 0, &address, NULL), 0);
        assert_int_equal(address, SUBNET + 2);
        /* In use, and by its own MAC: there is no other for it. */
        assert_int_equal(addresses_take(book.addresses, "name:d", &reserved, 0, &address, NULL), -EADDRINUSE);
        close_book(&book);
}

/* A full subnet: the identity that was away the longest goes, those that are there stay. */
static void test_eviction(void **state) {
        struct book book;
        uint32_t address;
        char path[256];

        open_book(&book, "{\"mask\":\"255.255.255.248\"}"); /* .2 to .6 */
        snprintf(path, sizeof(path), "%s/addresses.json", book.configuration.state_directory);
        const char *text = "[{\"identity\":\"name:a\",\"address\":\"192.168.64.2\",\"seen\":300},"
                           "{\"identity\":\"name:b\",\"address\":\"192.168.64.3\",\"seen\":100},"
                           "{\"identity\":\"name:c\",\"address\":\"192.168.64.4\",\"seen\":200},"
                           "{\"identity\":\"name:d\",\"address\":\"192.168.64.5\",\"seen\":50}]";
        assert_int_equal(file_write(path, text, strlen(text), 0600, false, NULL), 0);
        reopen(&book);
        assert_int_equal(take(&book, "name:d", 0), 5); /* old, but here */
        assert_int_equal(take(&book, "name:e", 0), 6); /* nobody's */
        assert_int_equal(take(&book, "name:f", 0), 3);
        assert_int_equal(take(&book, NULL, 0), 4);
        assert_int_equal(take(&book, "name:a", 0), 2);
        assert_int_equal(try(&book, "name:b", 0, &address), -ENOSPC);
        give(&book, 4);
        assert_int_equal(take(&book, "name:b", 0), 4);
        close_book(&book);
}

static void test_smallest_subnet(void **state) {
        struct book book;
        uint32_t address;

        open_book(&book, "{\"mask\":\"255.255.255.252\"}");
        assert_int_equal(take(&book, "name:a", 0), 2);
        assert_int_equal(try(&book, "name:b", 0, &address), -ENOSPC);
        give(&book, 2);
        assert_int_equal(take(&book, "name:b", 0), 2);
        close_book(&book);

        open_book(&book, "{\"mask\":\"255.255.255.252\",\"gateway\":\"192.168.64.2\"}");
        assert_int_equal(take(&book, "name:a", 0), 1);
        assert_int_equal(try(&book, "name:b", 0, &address), -ENOSPC);
        close_book(&book);
}

static void test_largest_subnet(void **state) {
        struct book book;
        uint32_t address;

        open_book(&book, "{\"gateway\":\"10.0.0.1\",\"mask\":\"255.0.0.0\"}");
        assert_int_equal(try(&book, "name:a", 0, &address), 0);
        assert_int_equal(address, 0x0a000002);
        assert_int_equal(try(&book, "name:b", 0x0a00fffe, &address), 0);
        close_book(&book);
}

static void test_bad_memory(void **state) {
        static const char *const texts[] = {
                "",
                "{",
                "{}",
                "7",
                "[7,null,[],{}]",
                "\xff\xfe",
                "[{\"identity\":7,\"address\":\"192.168.64.2\"}]",
                "[{\"identity\":\"name:x\",\"address\":\"192.168.64.1\",\"seen\":1}]",
                "[{\"identity\":\"name:x\",\"address\":\"192.168.64.0\",\"seen\":1}]",
                "[{\"identity\":\"name:x\",\"address\":\"192.168.64.255\",\"seen\":1}]",
                "[{\"identity\":\"name:x\",\"address\":\"255.255.255.255\",\"seen\":1}]",
                "[{\"identity\":\"name:x\",\"address\":\"here\",\"seen\":-1}]",
        };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                struct book book;
                char path[256];

                open_book(&book, NULL);
                snprintf(path, sizeof(path), "%s/addresses.json", book.configuration.state_directory);
                assert_int_equal(file_write(path, texts[i], strlen(texts[i]), 0600, false, NULL), 0);
                reopen(&book);
                assert_int_equal(take(&book, "name:a", 0), 2);
                give(&book, 2);
                reopen(&book);
                assert_int_equal(take(&book, "name:a", 0), 2);
                close_book(&book);
        }
}

/* Nothing is taken when the memory cannot be written. */
static void test_unwritable_memory(void **state) {
        struct book book;
        uint32_t address;

        open_book(&book, NULL);
        assert_int_equal(file_remove_tree(book.configuration.state_directory, NULL), 0);
        assert_true(try(&book, "name:a", SUBNET + 9, &address) < 0);
        assert_int_equal(mkdir(book.configuration.state_directory, 0755), 0);
        assert_int_equal(take(&book, "name:b", 9), 9);
        close_book(&book);
}

static void test_macs(void **state) {
        struct book book, other;

        open_book(&book, NULL);
        open_book(&other, "{\"name\":\"other\"}");
        struct mac a = addresses_mac(&book.configuration, "name:a"),
                   b = addresses_mac(&book.configuration, "name:b"),
                   again = addresses_mac(&book.configuration, "name:a"),
                   elsewhere = addresses_mac(&other.configuration, "name:a"), random = addresses_random_mac();
        assert_true(mac_equal(&a, &again));
        assert_false(mac_equal(&a, &b));
        assert_false(mac_equal(&a, &elsewhere));
        assert_int_equal(a.octets[0] & 3, 2); /* locally administered, unicast */
        assert_int_equal(random.octets[0] & 3, 2);
        close_book(&other);
        close_book(&book);
}

HARNESS_MAIN(cmocka_unit_test(test_identity_keeps_its_address), cmocka_unit_test(test_wanted),
             cmocka_unit_test(test_reservation), cmocka_unit_test(test_eviction),
             cmocka_unit_test(test_smallest_subnet), cmocka_unit_test(test_largest_subnet),
             cmocka_unit_test(test_bad_memory), cmocka_unit_test(test_unwritable_memory),
             cmocka_unit_test(test_macs))
