/* cli/view and cli/table: what people read. */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/table.h"
#include "cli/view.h"

static void test_texts(void **state) {
        json_auto_t *network = json_pack("{s:s, s:s, s:s, s:i, s:s}", "subnet", "192.168.64.0", "mask",
                                         "255.255.255.0", "ipv6_prefix", "fd1c::", "ipv6_prefix_length", 64,
                                         "state", "running");
        char buffer[VIEW_TEXT_SIZE];

        assert_string_equal(view_subnet(network, buffer), "192.168.64.0/24");
        assert_string_equal(view_ipv6_prefix(network, buffer), "fd1c::/64");
        assert_string_equal(view_state(network, buffer), "running");
        json_object_set_new(network, "removal_ms", json_integer(59001));
        assert_string_equal(view_state(network, buffer), "idle, removed in 1 min 0 s");
        json_object_set_new(network, "removal_ms", json_integer(100));
        assert_string_equal(view_state(network, buffer), "idle, removed in 1 s");
        json_object_set_new(network, "removal_ms", json_null());
        assert_string_equal(view_state(network, buffer), "running");
        json_object_set_new(network, "mask", json_string("255.0.255.0"));
        assert_string_equal(view_subnet(network, buffer), "192.168.64.0");
        json_object_set_new(network, "ipv6_prefix", json_string(""));
        assert_string_equal(view_ipv6_prefix(network, buffer), "");
        assert_string_equal(view_string(NULL, "x"), "");
        assert_int_equal(view_integer(network, "subnet"), 0);
}

static void test_bytes(void **state) {
        char buffer[VIEW_TEXT_SIZE];

        assert_string_equal(view_bytes(0, buffer), "0 B");
        assert_string_equal(view_bytes(999, buffer), "999 B");
        assert_string_equal(view_bytes(1000, buffer), "1.0 KiB");
        assert_string_equal(view_bytes(20 * 1024, buffer), "20 KiB");
        assert_string_equal(view_bytes(3 * 1024 * 1024 / 2, buffer), "1.5 MiB");
        assert_string_equal(view_bytes(INT64_MAX, buffer), "8192 PiB");
}

static void test_table(void **state) {
        static const char *const headings[] = { "NAME", ">COUNT", "TEXT" };
        _cleanup_free_ char *text = NULL;
        struct table *table = table_new(headings, 3);
        size_t size;
        FILE *out = open_memstream(&text, &size);

        table_add(table, "%s", "a longer name");
        table_add(table, "%d", 7);
        table_add(table, "%s", "");
        table_add(table, "%s", "é\033[31m");
        table_add(table, "%d", 123456);
        table_add(table, "%s", "x");
        assert_int_equal(table_print(table, out), 0);
        fclose(out);
        table_free(table);
        assert_string_equal(text, "NAME            COUNT  TEXT\n"
                                  "a longer name       7  -\n"
                                  "é?[31m         123456  x\n");
}

static void test_clean(void **state) {
        static const struct {
                const char *text, *expected;
        } cases[] = {
                { "", "" },
                { "plain", "plain" },
                { "a\033[31mb\r\nc\x7f", "a?[31mb??c?" },
                { "\xc2\x9b"
                  "31m\xc2\x80\xc2\x9f",
                  "?31m??" }, /* CSI in one character */
                { "\xc2\xa0\xc3\xa9\xe2\x82\xac", "\xc2\xa0\xc3\xa9\xe2\x82\xac" },
                { "\xc2", "\xc2" },
                { "\xc3\x82\xc2\x9b", "\xc3\x82?" },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                char text[64];

                strcpy(text, cases[i].text);
                assert_string_equal(view_clean(text), cases[i].expected);
        }
}

HARNESS_MAIN(cmocka_unit_test(test_texts), cmocka_unit_test(test_bytes), cmocka_unit_test(test_clean),
             cmocka_unit_test(test_table))
