/* broker/definition, broker/definitions, wire/json-line */
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "broker/definition.h"
#include "broker/definitions.h"
#include "wire/json-line.h"

static struct definition *parse(const char *name, const char *text) {
        struct definition *definition = NULL;
        struct error error = ERROR_INIT;

        if (definition_parse(name, "file", text, strlen(text), &definition, &error) < 0)
                fail_msg("%s", error.text);
        return definition;
}

static void test_defaults(void **state) {
        struct definition *d = parse("mine", "{}");

        assert_string_equal(d->name, "mine");
        assert_int_equal(d->mode, MODE_SHARED);
        assert_int_equal(d->gateway, 0);
        assert_int_equal(d->ipv6, IPV6_AUTOMATIC);
        assert_int_equal(d->mtu, 1500);
        assert_true(d->dhcp && d->dns && d->nat44 && d->nat66 && d->router_advertisement && d->anti_spoofing);
        assert_false(d->allow.given || d->has_idle_timeout);
        definition_free(d);

        /* A file that bears a built-in network's name changes what it says, and nothing else. */
        d = parse("host", "{\"mtu\": 9000}");
        assert_int_equal(d->mode, MODE_HOST);
        assert_int_equal(d->mtu, 9000);
        assert_false(d->nat44 || d->nat66);
        definition_free(d);
        d = parse("host", "{\"mode\": \"shared\"}");
        assert_true(d->nat44 && d->nat66);
        definition_free(d);
}

static void test_all_members(void **state) {
        struct definition *d = parse(
                "lab", "{\"description\": \"the lab\", \"mode\": \"shared\",\n"
                       "\"subnet\": \"10.9.0.1\", \"mask\": \"255.255.0.0\",\n"
                       "\"ipv6_prefix\": \"fd12:3456:789a:1::/64\", \"mtu\": 65520,\n"
                       "\"dhcp\": false, \"dns\": false, \"nat44\": false, \"nat66\": false,\n"
                       "\"router_advertisement\": false, \"anti_spoofing\": false,\n"
                       "\"dhcp_reservations\": [{\"mac\": \"52:54:00:12:34:56\", \"name\": \"web\",\n"
                       "  \"address\": \"10.9.255.254\"},\n"
                       "  {\"mac\": \"52:54:00:12:34:57\", \"address\": \"10.9.0.2\"}],\n"
                       "\"allow\": {\"users\": [\"root\", 1234], \"groups\": [\"4321\"]},\n"
                       "\"idle_timeout_sec\": 0}");
        char prefix[INET6_ADDRSTRLEN];

        assert_string_equal(d->description, "the lab");
        assert_int_equal(d->gateway, 0x0a090001);
        assert_int_equal(d->mask_length, 16);
        assert_int_equal(d->ipv6, IPV6_FIXED);
        assert_string_equal(ipv6_format(&d->ipv6_prefix, prefix), "fd12:3456:789a:1::");
        assert_int_equal(d->mtu, 65520);
        assert_false(d->dhcp || d->dns || d->nat44 || d->nat66 || d->router_advertisement ||
                     d->anti_spoofing);
        assert_int_equal(d->n_reservations, 2);
        assert_string_equal(d->reservations[0].name, "web");
        assert_int_equal(d->reservations[0].address, 0x0a09fffe);
        assert_string_equal(d->reservations[1].name, "");
        assert_true(d->allow.given && !d->allow.everyone);
        assert_int_equal(d->allow.n_uids, 2);
        assert_int_equal(d->allow.uids[0], 0);
        assert_int_equal(d->allow.uids[1], 1234);
        assert_int_equal(d->allow.gids[0], 4321);
        assert_true(d->has_idle_timeout);
        assert_int_equal(d->idle_timeout, 0);
        definition_free(d);

        d = parse("open", "{\"ipv6_prefix\": \"\", \"allow\": {\"users\": [\"*\"]}}");
        assert_int_equal(d->ipv6, IPV6_NONE);
        assert_true(d->allow.everyone);
        definition_free(d);
}

/* A text that is refused, and the beginning of the complaint. */
struct mistake {
        const char *text, *expected;
};

static void expect_errors(const struct mistake *cases, size_t n) {
        for (size_t i = 0; i < n; i++) {
                struct definition *definition = NULL;
                struct error error = ERROR_INIT;

                int r = definition_parse("x", "file", cases[i].text, strlen(cases[i].text), &definition,
                                         &error);
                if (r != -EINVAL || definition || !text_starts_with(error.text, cases[i].expected))
                        fail_msg("case %zu: %d \"%s\", not \"%s\"", i, r, error.text, cases[i].expected);
        }
}

static void test_errors(void **state) {
        static const struct mistake cases[] = {
                { "", "file:1: " },
                { "[]", "file:1: the file must hold one JSON object" },
                { "{\n\"mtu\": 1500,\n\"mtu\": 1400}", "file:3: duplicate object key" },
                { "{\n\"mtu\": 1500\n\n\"dhcp\": true}", "file:4: " },
                { "{\n\n\"colour\": 1}", "file:3: unknown key \"colour\"" },
                { "{\n\"description\": 5}", "file:2: \"description\"" },
                { "{\n\"mode\": \"bridged\"}", "file:2: \"mode\" must be" },
                { "{\n\"mode\": 1}", "file:2: \"mode\" must be" },
                { "{\n\"mtu\": 1279}", "file:2: \"mtu\" must be an integer from 1280 to 65520" },
                { "{\n\"mtu\": 65521}", "file:2: \"mtu\"" },
                { "{\n\"mtu\": \"1500\"}", "file:2: \"mtu\"" },
                { "{\n\n\"dhcp\": 1}", "file:3: \"dhcp\" must be true or false" },
                { "{\n\"idle_timeout_sec\": -1}", "file:2: \"idle_timeout_sec\"" },
                { "{\n\"mode\": \"host\",\n\"nat44\": true}", "file:3: a network of mode \"host\"" },
                { "{\n\"nat66\": true,\n\"mode\": \"host\"}", "file:2: a network of mode \"host\"" },
        };

        expect_errors(cases, ARRAY_SIZE(cases));
}

static void test_errors_of_subnet(void **state) {
        static const struct mistake cases[] = {
                { "{\n\"subnet\": \"10.9.0.1\"}", "file:2: \"subnet\" needs \"mask\"" },
                { "{\n\"mask\": \"255.255.255.0\"}", "file:2: \"mask\" needs \"subnet\"" },
                { "{\"mask\": \"255.255.255.0\",\n\"subnet\": \"10.9.0\"}", "file:2: \"subnet\" must be" },
                { "{\"mask\": \"255.255.255.0\",\n\"subnet\": \"10.9.0.0\"}",
                  "file:2: \"subnet\" must be the gateway's" },
                { "{\"mask\": \"255.255.255.0\",\n\"subnet\": \"10.9.0.255\"}",
                  "file:2: \"subnet\" must be" },
                { "{\"mask\": \"255.255.255.0\",\n\"subnet\": \"127.0.0.1\"}",
                  "file:2: \"subnet\": 127.0.0.1 is" },
                { "{\"mask\": \"255.255.255.0\",\n\"subnet\": \"169.254.1.1\"}",
                  "file:2: \"subnet\": 169.254.1.1" },
                { "{\"mask\": \"255.255.255.0\",\n\"subnet\": \"224.0.0.1\"}",
                  "file:2: \"subnet\": 224.0.0.1 is" },
                { "{\"mask\": \"255.255.255.0\",\n\"subnet\": \"0.1.2.3\"}",
                  "file:2: \"subnet\": 0.1.2.3 is" },
                { "{\"subnet\": \"10.9.0.1\",\n\"mask\": \"255.0.255.0\"}",
                  "file:2: \"mask\": 255.0.255.0 is no" },
                { "{\"subnet\": \"10.9.0.1\",\n\"mask\": \"255.255.255.254\"}", "file:2: \"mask\": " },
                { "{\"subnet\": \"10.9.0.1\",\n\"mask\": \"254.0.0.0\"}", "file:2: \"mask\": " },
        };

        expect_errors(cases, ARRAY_SIZE(cases));
}

static void test_errors_of_ipv6_prefix(void **state) {
        static const struct mistake cases[] = {
                { "{\n\"ipv6_prefix\": \"fd12::1\"}", "file:2: \"ipv6_prefix\": fd12::1 is no /64" },
                { "{\n\"ipv6_prefix\": \"fd12::/48\"}", "file:2: \"ipv6_prefix\": fd12::/48 is no /64" },
                { "{\n\"ipv6_prefix\": \"fe80::\"}", "file:2: \"ipv6_prefix\": fe80:: is loopback" },
                { "{\n\"ipv6_prefix\": \"ff02::\"}", "file:2: \"ipv6_prefix\": ff02:: is" },
                { "{\n\"ipv6_prefix\": \"::\"}", "file:2: \"ipv6_prefix\": :: is" },
                { "{\n\"ipv6_prefix\": 6}", "file:2: \"ipv6_prefix\" must be" },
        };

        expect_errors(cases, ARRAY_SIZE(cases));
}

#define SUBNET "{\"subnet\": \"10.9.0.1\",\n\"mask\": \"255.255.255.0\",\n"

static void test_errors_of_reservations(void **state) {
        static const struct mistake cases[] = {
                { "{\n\"dhcp_reservations\": {}}", "file:2: \"dhcp_reservations\" must be an array" },
                { "{\"dhcp_reservations\": [\n{\"mac\": \"52:54:00:12:34:56\",\n\"address\": \"10.9.0.2\"}]}",
                  "file:3: a reservation needs \"subnet\"" },
                { SUBNET "\"dhcp_reservations\": [\n5]}", "file:4: a reservation must be an object" },
                { SUBNET "\"dhcp_reservations\": [\n{\"address\": \"10.9.0.2\"}]}",
                  "file:4: a reservation needs" },
                { SUBNET "\"dhcp_reservations\": [{\n\"mac\": \"53:54:00:12:34:56\"}]}",
                  "file:4: \"mac\" must be" },
                { SUBNET "\"dhcp_reservations\": [{\n\"mac\": \"52:54:00:12:34:56\",\n\"colour\": 1}]}",
                  "file:5: unknown key \"colour\"" },
                { SUBNET
                  "\"dhcp_reservations\": [{\"mac\": \"52:54:00:12:34:56\",\n\"address\": \"10.9.1.2\"}]}",
                  "file:4: \"address\" is not in the subnet" },
                { SUBNET
                  "\"dhcp_reservations\": [{\"mac\": \"52:54:00:12:34:56\",\n\"address\": \"10.9.0.1\"}]}",
                  "file:4: \"address\" is the gateway's" },
                { SUBNET
                  "\"dhcp_reservations\": [{\"mac\": \"52:54:00:12:34:56\",\n\"address\": \"10.9.0.255\"}]}",
                  "file:4: \"address\" is the first or the broadcast" },
                { SUBNET
                  "\"dhcp_reservations\": [{\"mac\": \"52:54:00:12:34:56\", \"address\": \"10.9.0.2\",\n"
                  "\"name\": \"a b\"}]}",
                  "file:4: \"name\" must be a DNS label" },
                { SUBNET
                  "\"dhcp_reservations\": [{\"mac\": \"52:54:00:12:34:56\", \"address\": \"10.9.0.2\"},\n"
                  "{\"address\": \"10.9.0.3\",\n\"mac\": \"52:54:00:12:34:56\"}]}",
                  "file:5: \"mac\" has" },
                { SUBNET
                  "\"dhcp_reservations\": [{\"mac\": \"52:54:00:12:34:56\", \"address\": \"10.9.0.2\"},\n"
                  "{\"address\": \"10.9.0.2\",\n\"mac\": \"52:54:00:12:34:57\"}]}",
                  "file:4: \"address\" is reserved" },
                { SUBNET "\"dhcp_reservations\": [{\"mac\": \"52:54:00:12:34:56\", \"address\": \"10.9.0.2\","
                         "\"name\": \"web\"},\n{\"address\": \"10.9.0.3\", \"mac\": \"52:54:00:12:34:57\",\n"
                         "\"name\": \"WEB\"}]}",
                  "file:5: \"name\" is taken" },
        };

        expect_errors(cases, ARRAY_SIZE(cases));
}

static void test_errors_of_permission(void **state) {
        static const struct mistake cases[] = {
                { "{\n\"allow\": [\"root\"]}", "file:2: \"allow\" must be an object" },
                { "{\n\"allow\": {\n\"user\": []}}", "file:3: unknown key \"user\" in \"allow\"" },
                { "{\"allow\": {\n\"users\": [\"no-such-user\"]}}", "file:2: \"users\": there is no user" },
                { "{\"allow\": {\n\"groups\": [\"no-such-group\"]}}",
                  "file:2: \"groups\": there is no group" },
                { "{\"allow\": {\n\"users\": [true]}}", "file:2: \"users\": element 1 is no name" },
                { "{\"allow\": {\"users\": [],\n\"groups\": \"root\"}}",
                  "file:2: \"groups\" must be an array" },
        };

        expect_errors(cases, ARRAY_SIZE(cases));
}

static void test_json_line(void **state) {
        static const char text[] =
                "{\n \"a}\\\"\": [1, {\"k\": \"]\"},\n  [2]],\n \"b\": {\"k\": {\"b\": 1},\n"
                "   \"l\": 2},\n \"c\": [\n  0,\n  {\"k\": 1,\n   \"l\": 2}]\n}";
        size_t size = strlen(text);

        assert_int_equal(json_line(text, size, "b", -1, NULL), 4);
        assert_int_equal(json_line(text, size, "b", -1, "l"), 5);
        assert_int_equal(json_line(text, size, "c", -1, NULL), 6);
        assert_int_equal(json_line(text, size, "c", 0, NULL), 7);
        assert_int_equal(json_line(text, size, "c", 1, NULL), 8);
        assert_int_equal(json_line(text, size, "c", 1, "l"), 9);
        assert_int_equal(json_line(text, size, "c", 7, NULL), 6);
        assert_int_equal(json_line(text, size, "none", 1, "l"), 1);
        for (size_t i = 0; i < size; i++) /* whatever it is given, it stays within */
                assert_true(json_line(text, i, "c", 1, "l") <= 9);
}

static void write_file(const char *directory, const char *name, const char *text) {
        char *path = text_format("%s/%s", directory, name);

        assert_int_equal(file_write(path, text, strlen(text), 0644, false, NULL), 0);
        free(path);
}

static void test_directory(void **state) {
        char *directory = harness_make_directory();
        struct definition *definition = NULL;
        struct error error = ERROR_INIT;

        assert_int_equal(definitions_find(directory, "shared", &definition, NULL), 0);
        assert_string_equal(definition->source, "built in");
        definition = definition_free(definition);
        assert_int_equal(definitions_find(directory, "lab", &definition, NULL), -ENOENT);
        assert_int_equal(definitions_find(directory, "../lab", &definition, NULL), -ENOENT);
        assert_int_equal(definitions_find("/nowhere", "host", &definition, NULL), 0);
        definition = definition_free(definition);

        write_file(directory, "shared.json", "{\"mtu\": 1400}");
        write_file(directory, "lab.json", "{\n\"mtu\": 1}");
        write_file(directory, ".hidden.json", "{}");
        write_file(directory, "notes.txt", "{}");
        assert_int_equal(definitions_find(directory, "shared", &definition, NULL), 0);
        assert_int_equal(definition->mtu, 1400);
        definition = definition_free(definition);
        assert_int_equal(definitions_find(directory, "lab", &definition, &error), -EINVAL);
        assert_non_null(strstr(error.text, "lab.json:2: "));

        json_auto_t *list = definitions_list(directory, NULL);
        assert_int_equal(json_array_size(list), 3);
        assert_non_null(json_object_get(json_array_get(list, 2), "error"));
        json_auto_t *one = definitions_list(directory, "host");
        assert_int_equal(json_array_size(one), 1);

        char *huge = calloc(1, DEFINITION_FILE_MAX + 2);
        memset(huge, ' ', DEFINITION_FILE_MAX + 1);
        write_file(directory, "huge.json", huge);
        assert_int_equal(definitions_find(directory, "huge", &definition, &error), -EFBIG);
        free(huge);
        harness_remove_directory(directory);
}

HARNESS_MAIN(cmocka_unit_test(test_defaults), cmocka_unit_test(test_all_members),
             cmocka_unit_test(test_errors), cmocka_unit_test(test_errors_of_subnet),
             cmocka_unit_test(test_errors_of_ipv6_prefix), cmocka_unit_test(test_errors_of_reservations),
             cmocka_unit_test(test_errors_of_permission), cmocka_unit_test(test_json_line),
             cmocka_unit_test(test_directory))
