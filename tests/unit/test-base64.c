/* base/base64 */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/memory.h"

/* RFC 4648, section 10. */
static void test_vectors(void **state) {
        static const char *const vectors[][2] = {
                { "", "" },
                { "f", "Zg==" },
                { "fo", "Zm8=" },
                { "foo", "Zm9v" },
                { "foob", "Zm9vYg==" },
                { "fooba", "Zm9vYmE=" },
                { "foobar", "Zm9vYmFy" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
                _cleanup_free_ char *text = base64_encode(vectors[i][0], strlen(vectors[i][0])), *data = NULL;
                size_t size;

                assert_string_equal(text, vectors[i][1]);
                assert_int_equal(base64_decode(vectors[i][1], &data, &size), 0);
                assert_int_equal(size, strlen(vectors[i][0]));
                assert_string_equal(data, vectors[i][0]);
        }
}

static void test_all_bytes(void **state) {
        unsigned char bytes[256 + 3];
        _cleanup_free_ char *text = NULL, *data = NULL;
        size_t size;

        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (unsigned char)(i * 7);
        text = base64_encode(bytes, sizeof(bytes));
        assert_int_equal(base64_decode(text, &data, &size), 0);
        assert_int_equal(size, sizeof(bytes));
        assert_memory_equal(data, bytes, size);
}

static void test_bad(void **state) {
        static const char *const texts[] = { "Z",    "Zg",   "Zg=",  "Zm9v\n",   "Zm 9",
                                             "Z===", "====", "=Zg=", "Zg==Zg==", "Zm9\xff" };
        char *data = (char *)"untouched";
        size_t size;

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                assert_int_equal(base64_decode(texts[i], &data, &size), -EINVAL);
}

HARNESS_MAIN(cmocka_unit_test(test_vectors), cmocka_unit_test(test_all_bytes), cmocka_unit_test(test_bad))
