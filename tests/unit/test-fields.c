/* wire/fields */
#include "harness.h"

#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "wire/fields.h"

struct values {
        const char *name;
        bool flag;
        uint64_t mtu;
        json_t *object, *array;
};

/* Parses the text by a table with one field of each type; `required` holds for the name. */
static int parse(const char *text, bool tolerant, struct values *values, json_t **ret_body,
                 struct error *error) {
        const struct field fields[] = {
                { "name", FIELD_STRING, true, &values->name, 0, 0 },
                { "flag", FIELD_BOOL, false, &values->flag, 0, 0 },
                { "mtu", FIELD_U64, false, &values->mtu, 68, 65520 },
                { "object", FIELD_OBJECT, false, &values->object, 0, 0 },
                { "array", FIELD_ARRAY, false, &values->array, 0, 0 },
        };
        json_t *body = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

        assert_non_null(body);
        *ret_body = body;
        return fields_parse(body, fields, ARRAY_SIZE(fields), tolerant, error);
}

static void check_refused(const char *text, const char *expected) {
        struct values values = {};
        struct error error = ERROR_INIT;
        json_t *body;

        assert_int_equal(parse(text, false, &values, &body, &error), -EINVAL);
        assert_string_equal(error.text, expected);
        json_decref(body);
}

static void test_all(void **state) {
        struct values values = {};
        json_t *body;

        assert_int_equal(parse("{\"name\":\"n\",\"flag\":true,\"mtu\":1500,\"object\":{},\"array\":[]}",
                               false, &values, &body, NULL),
                         0);
        assert_string_equal(values.name, "n");
        assert_true(values.flag);
        assert_int_equal(values.mtu, 1500);
        assert_ptr_equal(values.object, json_object_get(body, "object"));
        assert_ptr_equal(values.array, json_object_get(body, "array"));
        json_decref(body);
}

static void test_absent_is_untouched(void **state) {
        struct values values = { .flag = true, .mtu = 77 };
        json_t *body;

        assert_int_equal(parse("{\"name\":\"\"}", false, &values, &body, NULL), 0);
        assert_string_equal(values.name, "");
        assert_true(values.flag);
        assert_int_equal(values.mtu, 77);
        assert_null(values.object);
        json_decref(body);
}

static void test_refused(void **state) {
        static const char range[] = "\"mtu\" must be an integer from 68 to 65520";

        check_refused("{}", "\"name\" is required");
        check_refused("[]", "not an object");
        check_refused("7", "not an object");
        check_refused("{\"name\":\"n\",\"nam\":1}", "\"nam\" is not known here");
        check_refused("{\"name\":7}", "\"name\" must be a string");
        check_refused("{\"name\":null}", "\"name\" must be a string");
        check_refused("{\"name\":\"a\\u0000b\"}", "\"name\" must not have a NUL in it");
        check_refused("{\"name\":\"n\",\"flag\":1}", "\"flag\" must be true or false");
        check_refused("{\"name\":\"n\",\"object\":[]}", "\"object\" must be an object");
        check_refused("{\"name\":\"n\",\"array\":{}}", "\"array\" must be an array");
        check_refused("{\"name\":\"n\",\"mtu\":67}", range);
        check_refused("{\"name\":\"n\",\"mtu\":65521}", range);
        check_refused("{\"name\":\"n\",\"mtu\":-1}", range);
        check_refused("{\"name\":\"n\",\"mtu\":-9223372036854775808}", range);
        check_refused("{\"name\":\"n\",\"mtu\":1500.0}", range);
        check_refused("{\"name\":\"n\",\"mtu\":\"1500\"}", range);
}

/* A negative number is not a large one, even where all of uint64_t is in range. */
static void test_full_range(void **state) {
        uint64_t value = 7;
        const struct field field = { "n", FIELD_U64, true, &value, 0, UINT64_MAX };
        json_t *body = json_pack("{s:I}", "n", (json_int_t)-1);

        assert_int_equal(fields_parse(body, &field, 1, false, NULL), -EINVAL);
        assert_int_equal(value, 7);
        json_object_set_new(body, "n", json_integer(INT64_MAX));
        assert_int_equal(fields_parse(body, &field, 1, false, NULL), 0);
        assert_true(value == INT64_MAX);
        json_decref(body);
}

static void test_tolerant(void **state) {
        struct values values = {};
        json_t *body;

        assert_int_equal(parse("{\"name\":\"n\",\"later\":1}", true, &values, &body, NULL), 0);
        json_decref(body);
        /* What is known is checked as strictly. */
        assert_int_equal(parse("{\"name\":1}", true, &values, &body, NULL), -EINVAL);
        json_decref(body);
}

HARNESS_MAIN(cmocka_unit_test(test_all), cmocka_unit_test(test_absent_is_untouched),
             cmocka_unit_test(test_refused), cmocka_unit_test(test_full_range),
             cmocka_unit_test(test_tolerant))
