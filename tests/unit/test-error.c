/* base/error */
#include "harness.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"

static void test_set(void **state) {
        struct error error = ERROR_INIT;

        assert_int_equal(error_set(&error, -EINVAL, "no %s, %d", "way", 7), -EINVAL);
        assert_int_equal(error.code, -EINVAL);
        assert_string_equal(error_text(&error, -EIO), "no way, 7");
}

static void test_errno(void **state) {
        struct error error = ERROR_INIT;

        assert_int_equal(error_errno(&error, -ENOENT, "cannot open %s", "/x"), -ENOENT);
        assert_string_equal(error.text, "cannot open /x: No such file or directory");
}

static void test_prefix(void **state) {
        struct error error = ERROR_INIT;

        error_set(&error, -EINVAL, "a reason");
        assert_int_equal(error_prefix(&error, "line %d", 3), -EINVAL);
        assert_string_equal(error.text, "line 3: a reason");

        /* Where there is no text, the code has one. */
        error = (struct error){ .code = -ENOENT };
        assert_int_equal(error_prefix(&error, "here"), -ENOENT);
        assert_string_equal(error.text, "here: No such file or directory");

        /* The text may be an argument to its own replacement. */
        assert_int_equal(error_set(&error, -EIO, "again, %s", error.text), -EIO);
        assert_string_equal(error.text, "again, here: No such file or directory");
}

/* Nobody wants the text: the code still comes back, and it is negative whatever was given. */
static void test_null(void **state) {
        assert_int_equal(error_set(NULL, -EPERM, "x"), -EPERM);
        assert_int_equal(error_errno(NULL, -EPERM, "x"), -EPERM);
        assert_true(error_prefix(NULL, "x") < 0);
        assert_int_equal(error_set(NULL, EPERM, "x"), -EPERM);
        assert_true(error_set(NULL, 0, "x") < 0);
        assert_string_equal(error_text(NULL, -EPERM), "Operation not permitted");
}

static void test_long(void **state) {
        struct error error = ERROR_INIT;
        char input[2000];

        memset(input, 'x', sizeof(input) - 1);
        input[sizeof(input) - 1] = '\0';
        error_errno(&error, -EINVAL, "%s", input);
        assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
        error_prefix(&error, "%s", input);
        assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
}

/* A text is put into JSON: bytes that are no UTF-8, or a character cut in two by the limit, must not get
 * there. */
static void test_utf8(void **state) {
        struct error error = ERROR_INIT;
        char input[sizeof(error.text) + 1];

        error_set(&error, -EINVAL, "%s", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x9a\xa2 good");
        assert_string_equal(error.text, "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x9a\xa2 good");
        error_set(&error, -EINVAL, "%s", "\xff \xc0\xaf \xe0\x9f\xbf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82");
        assert_string_equal(error.text, "? ?? ??? ??? ???? ??");

        memset(input, 'x', sizeof(error.text) - 2);
        strcpy(input + sizeof(error.text) - 2, "\xc3\xa9");
        error_set(&error, -EINVAL, "%s", input);
        assert_string_equal(error.text + sizeof(error.text) - 3, "x?");
}

HARNESS_MAIN(cmocka_unit_test(test_set), cmocka_unit_test(test_errno), cmocka_unit_test(test_prefix),
             cmocka_unit_test(test_null), cmocka_unit_test(test_long), cmocka_unit_test(test_utf8))
