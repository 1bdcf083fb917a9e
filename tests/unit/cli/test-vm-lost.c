/* berth vm: the end that nobody saw, told as the next vmhost records it. */
#include "harness.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "fixture.h"

#define UNSEEN "{\"phase\":\"running\",\"run\":{\"pid\":1,\"start_time\":1,\"boot_id\":\"another\"}}"

static int setup(void **state) {
        struct fixture *fixture = fixture_new();

        fixture_make_vm(fixture, "lost");
        fixture_write(fixture, "lost", "state.json", UNSEEN);
        *state = fixture;
        return 0;
}

static int teardown(void **state) {
        fixture_free(*state);
        return 0;
}

static char *find_tail(struct fixture *fixture) {
        _cleanup_free_ char *output = NULL;
        json_auto_t *end = NULL;
        int status;

        output = fixture_run(fixture, &status, ARGUMENTS("vm", "wait", "--json", "lost"));
        assert_int_equal(status, 1);
        end = json_loads(output, 0, NULL);
        assert_string_equal(json_string_value(json_object_get(end, "by")), "unknown");
        return json_dumps(json_object_get(end, "console_tail"), JSON_COMPACT);
}

static void test_tail(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *tail = NULL, *none = find_tail(fixture), *shown = NULL;
        int status;

        assert_string_equal(none, "[]");
        fixture_write(fixture, "lost", "console.log", "one\r\n\r\n\x1b[31mits last\xc2\x9b words");
        tail = find_tail(fixture);
        assert_string_equal(tail, "[\"one\",\"its last words\"]");
        shown = fixture_run(fixture, &status, ARGUMENTS("vm", "show", "lost"));
        assert_non_null(strstr(shown, "last lines      one\n                its last words\n"));
}

/* What is no file is not waited for. */
static void test_no_file(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *path = fixture_path(fixture, "lost", "console.log"), *tail = NULL;

        assert_int_equal(mkfifo(path, 0600), 0);
        tail = find_tail(fixture);
        assert_string_equal(tail, "[]");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

HARNESS_MAIN(TEST(test_tail), TEST(test_no_file))
