/* cli/placeholder: what is one, what is none, and what stands for it. */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/placeholder.h"

static void test_scan(void **state) {
        static const struct {
                const char *argument;
                int result;
                unsigned uses[2];
        } cases[] = {
                { "", 0, { 0, 0 } },
                { "plain", 0, { 0, 0 } },
                { "{net0.fd}", 0, { 1U << PLACEHOLDER_FD, 0 } },
                { "x={net1.mac},y={net0.fds}", 0, { 1U << PLACEHOLDER_FDS, 1U << PLACEHOLDER_MAC } },
                { "{net0.fd}{net0.mtu}", 0, { 1U << PLACEHOLDER_FD | 1U << PLACEHOLDER_MTU, 0 } },
                { "{{net0.fd}}", 0, { 1U << PLACEHOLDER_FD, 0 } },
                { "{net0.{net0.fd}", 0, { 1U << PLACEHOLDER_FD, 0 } },
                /* Braces that are somebody else's. */
                { "{", 0, { 0, 0 } },
                { "{}", 0, { 0, 0 } },
                { "{net0}", 0, { 0, 0 } },
                { "{net0.}", 0, { 0, 0 } },
                { "{net0.fd", 0, { 0, 0 } },
                { "{net.fd}", 0, { 0, 0 } },
                { "{netx.fd}", 0, { 0, 0 } },
                { "{net-1.fd}", 0, { 0, 0 } },
                { "{net0.FD}", 0, { 0, 0 } },
                { "{net0.f d}", 0, { 0, 0 } },
                { "{\"net0\": 1}", 0, { 0, 0 } },
                { "${net0.fd", 0, { 0, 0 } },
                /* Meant as placeholders, and wrong. */
                { "{net0.fdx}", -EINVAL, { 0, 0 } },
                { "{net0.f}", -EINVAL, { 0, 0 } },
                { "{net2.fd}", -EINVAL, { 0, 0 } },
                { "{net99999999999999999999999.fd}", -EINVAL, { 0, 0 } },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                unsigned uses[2] = { 0, 0 };

                assert_int_equal(placeholder_scan(cases[i].argument, 2, uses, NULL), cases[i].result);
                assert_int_equal(uses[0], cases[i].uses[0]);
                assert_int_equal(uses[1], cases[i].uses[1]);
        }
}

static void test_errors(void **state) {
        struct error error = ERROR_INIT;
        unsigned uses[1] = { 0 };

        placeholder_scan("a{net0.color}", 1, uses, &error);
        assert_non_null(strstr(error.text, "{net0.color}"));
        for (enum placeholder p = 0; p < PLACEHOLDER_MAX; p++)
                assert_non_null(strstr(error.text, placeholder_name(p)));
        placeholder_scan("{net1.fd}", 1, uses, &error);
        assert_non_null(strstr(error.text, "{net1.fd}"));
}

static void test_fill(void **state) {
        struct placeholder_values values[2] = {
                { .values = { [PLACEHOLDER_FD] = (char *)"5",
                              [PLACEHOLDER_MAC] = (char *)"02:00:00:00:00:01",
                              [PLACEHOLDER_NAME] = (char *)"{net1.fd}" } },
                { .values = { [PLACEHOLDER_FD] = (char *)"6" } },
        };
        static const struct {
                const char *argument, *filled;
        } cases[] = {
                { "", "" },
                { "{net0.fd}", "5" },
                { "fd={net0.fd},mac={net0.mac}", "fd=5,mac=02:00:00:00:00:01" },
                { "{net0.fd}{net1.fd}", "56" },
                { "{{net1.fd}}", "{6}" },
                { "a{net1.address}b", "ab" }, /* nothing stands for it */
                { "{net0.name}", "{net1.fd}" }, /* a value is not filled in turn */
                { "{net0} ${x} {", "{net0} ${x} {" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *filled = placeholder_fill(cases[i].argument, values, 2);

                assert_string_equal(filled, cases[i].filled);
        }
}

HARNESS_MAIN(cmocka_unit_test(test_scan), cmocka_unit_test(test_errors), cmocka_unit_test(test_fill))
