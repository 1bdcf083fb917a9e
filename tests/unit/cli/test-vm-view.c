/* cli/vm-view and cli/vm-progress: what people read of a VM. */
#include "harness.h"

#include <string.h>

#include "base/memory.h"
#include "cli/vm-progress.h"
#include "cli/vm-view.h"

static void test_durations(void **state) {
        static const struct {
                int64_t milliseconds;
                const char *expected;
        } cases[] = {
                { -5, "0 ms" },
                { 0, "0 ms" },
                { 999, "999 ms" },
                { 1000, "1 s" },
                { 59999, "59 s" },
                { 60000, "1 min 0 s" },
                { 3599999, "59 min 59 s" },
                { 3600000, "1 h 0 min" },
                { 90061000, "1 d 1 h" },
        };
        char buffer[VIEW_TEXT_SIZE];

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                assert_string_equal(vm_view_duration(cases[i].milliseconds, buffer), cases[i].expected);
}

static void test_states(void **state) {
        static const struct {
                const char *vm, *expected;
        } cases[] = {
                { "{\"state\":\"running\",\"phase\":\"booting\"}", "booting" },
                { "{\"state\":\"running\"}", "running" },
                { "{\"state\":\"running\",\"phase\":\"io-error\",\"message\":\"disk full\"}",
                  "io-error: disk full" },
                { "{\"state\":\"stopped\",\"phase\":\"stopped\"}", "stopped" },
                { "{\"state\":\"silent\"}", "silent" },
                { "{\"state\":\"running\",\"phase\":\"stopping\",\"stop\":{\"stage\":\"acpi\",\"left_ms\":"
                  "12345}}",
                  "stopping: acpi, 12 s left" },
                { "{\"state\":\"running\",\"phase\":\"running\",\"unresponsive_since_ms\":4000}",
                  "unresponsive for 4 s (running)" },
                { "{\"state\":7}", "" },
        };
        char buffer[VM_VIEW_LINE_SIZE];

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                json_auto_t *vm = json_loads(cases[i].vm, 0, NULL);

                assert_non_null(vm);
                assert_string_equal(vm_view_state(vm, buffer), cases[i].expected);
        }
}

static void test_ends(void **state) {
        static const struct {
                const char *end;
                int status;
        } cases[] = {
                { "{\"by\":\"guest\",\"stage\":\"none\",\"exit_code\":0}", 0 },
                { "{\"by\":\"host\",\"stage\":\"acpi\",\"exit_code\":0}", 0 },
                { "{\"by\":\"host\",\"stage\":\"sigkill\",\"signal\":9}", 0 },
                /* A start that failed is the host's too. */
                { "{\"by\":\"host\",\"stage\":\"none\",\"exit_code\":null,\"signal\":null}", 1 },
                { "{\"by\":\"crash\",\"stage\":\"none\",\"exit_code\":3,\"signal\":0}", 3 },
                { "{\"by\":\"crash\",\"stage\":\"none\",\"exit_code\":0,\"signal\":11}", 139 },
                { "{\"by\":\"crash\",\"stage\":\"none\",\"exit_code\":127}", 1 },
                { "{\"by\":\"oom\",\"stage\":\"none\",\"exit_code\":0,\"signal\":9}", 137 },
                { "{\"by\":\"unknown\",\"stage\":\"none\"}", 1 },
        };
        json_auto_t *end = json_pack("{s:s, s:i}", "reason", "the guest shut itself down", "uptime_ms",
                                     61000);
        char buffer[VM_VIEW_LINE_SIZE];

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                json_auto_t *one = json_loads(cases[i].end, 0, NULL);

                assert_non_null(one);
                assert_int_equal(vm_view_status(one), cases[i].status);
        }
        assert_string_equal(vm_view_end(end, buffer), "the guest shut itself down (after 1 min 1 s)");
        assert_string_equal(vm_view_end(NULL, buffer), " (after 0 ms)");
}

/* However many there are, they fit. */
static void test_addresses(void **state) {
        json_auto_t *vm = json_pack("{s:[s, i, s]}", "addresses", "192.168.64.2", 7, "fd00::2");
        json_t *array = json_object_get(vm, "addresses");
        char buffer[VM_VIEW_LINE_SIZE];

        assert_string_equal(vm_view_addresses(vm, buffer), "192.168.64.2, fd00::2");
        for (int i = 0; i < 100; i++)
                json_array_append_new(array, json_string("fd00:1111:2222:3333:4444:5555:6666:7777"));
        assert_true(strlen(vm_view_addresses(vm, buffer)) < VM_VIEW_LINE_SIZE);
        assert_string_equal(vm_view_addresses(NULL, buffer), "");
}

static void test_console(void **state) {
        static const struct {
                const char *text;
                bool firmware, kernel;
        } cases[] = {
                { "", false, false },
                { "SeaBIOS (version 1.16.2)\r\n", true, false },
                { "SeaBIOS (version 1.16.2)\r\nBooting from Hard Disk...\r\n[    0.000000] Linux version 6.1",
                  true, true },
                { "[    0.000000] Linux version 6.1", false, true },
                { "berth-guest: ready", false, true },
                { "Welcome to GRUB!\r\n", true, false },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct vm_progress progress;
                json_auto_t *steps = NULL;

                vm_progress_begin(&progress, false);
                vm_progress_look_at_console(&progress, cases[i].text, strlen(cases[i].text));
                assert_int_equal(vm_progress_has(&progress, VM_STEP_FIRMWARE), cases[i].firmware);
                assert_int_equal(vm_progress_has(&progress, VM_STEP_KERNEL), cases[i].kernel);
                steps = vm_progress_describe(&progress);
                assert_int_equal(json_object_size(steps), cases[i].firmware + cases[i].kernel);
        }
}

HARNESS_MAIN(cmocka_unit_test(test_durations), cmocka_unit_test(test_states), cmocka_unit_test(test_ends),
             cmocka_unit_test(test_addresses), cmocka_unit_test(test_console))
