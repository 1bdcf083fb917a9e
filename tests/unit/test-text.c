/* base/text */
#include "harness.h"

#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

static void test_format(void **state) {
        _cleanup_free_ char *s = text_format("%s-%d", "a", 7);

        assert_string_equal(s, "a-7");
}

static void test_compare(void **state) {
        assert_true(text_equal(NULL, NULL));
        assert_false(text_equal(NULL, ""));
        assert_false(text_equal("", NULL));
        assert_true(text_equal("a", "a"));
        assert_false(text_equal("a", "b"));
        assert_true(text_starts_with("qemu-system-x86_64", "qemu-system-"));
        assert_false(text_starts_with("qemu", "qemu-system-"));
        assert_true(text_starts_with("x", ""));
}

static void test_parse_u64(void **state) {
        static const char *const malformed[] = { "",    "-1",  "+1",
                                                 " 1",  "1 ",  "0x10",
                                                 "1.0", "1e3", "99999999999999999999999x" };
        uint64_t value = 5;

        for (size_t i = 0; i < ARRAY_SIZE(malformed); i++)
                assert_int_equal(text_parse_u64(malformed[i], UINT64_MAX, &value), -EINVAL);
        assert_int_equal(text_parse_u64("18446744073709551616", UINT64_MAX, &value), -ERANGE);
        assert_int_equal(text_parse_u64("99999999999999999999999", UINT64_MAX, &value), -ERANGE);
        assert_int_equal(text_parse_u64("11", 10, &value), -ERANGE);
        assert_int_equal(value, 5);
        assert_int_equal(text_parse_u64("10", 10, &value), 0);
        assert_int_equal(value, 10);
        assert_int_equal(text_parse_u64("18446744073709551615", UINT64_MAX, &value), 0);
        assert_true(value == UINT64_MAX);
        assert_int_equal(text_parse_u64("007", 10, &value), 0);
        assert_int_equal(value, 7);
}

static void test_names(void **state) {
        static const struct {
                const char *s;
                bool label, name;
        } cases[] = {
                { "", false, false },          { "web", true, true },    { "Web-1", true, true },
                { "0", true, true },           { "-web", false, false }, { "web-", false, true },
                { "a.b", false, true },        { "a_b", false, true },   { ".a", false, false },
                { "..", false, false },        { "_a", false, false },   { "a/b", false, false },
                { "a b", false, false },       { "a\n", false, false },  { "\xc3\xa9", false, false },
                { "a\xc3\xa9", false, false },
        };
        char longest[65];

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(text_is_label(cases[i].s), cases[i].label);
                assert_int_equal(text_is_name(cases[i].s), cases[i].name);
        }
        memset(longest, 'a', sizeof(longest));
        longest[64] = '\0';
        assert_false(text_is_label(longest));
        assert_false(text_is_name(longest));
        longest[63] = '\0';
        assert_true(text_is_label(longest));
        assert_true(text_is_name(longest));
}

static void test_uuid(void **state) {
        assert_true(text_is_uuid("f81d4fae-7dec-11d0-a765-00a0c91e6bf6"));
        assert_false(text_is_uuid("F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"));
        assert_false(text_is_uuid("f81d4fae-7dec-11d0-a765-00a0c91e6bf"));
        assert_false(text_is_uuid("f81d4fae-7dec-11d0-a765-00a0c91e6bf66"));
        assert_false(text_is_uuid("f81d4fae-7dec-11d0-a765000a0c91e6bf6"));
        assert_false(text_is_uuid("f81d4fae-7dec-11d0-a765-00a0c91e6bg6"));
        assert_false(text_is_uuid(""));
}

HARNESS_MAIN(cmocka_unit_test(test_format), cmocka_unit_test(test_compare), cmocka_unit_test(test_parse_u64),
             cmocka_unit_test(test_names), cmocka_unit_test(test_uuid))
