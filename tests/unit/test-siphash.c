/* base/siphash */
#include "harness.h"

#include <string.h>

#include "base/memory.h"
#include "base/siphash.h"

/* From the paper's appendix A (15 bytes) and the authors' list of vectors: key 00..0f, input 00, 01, 02... */
static void test_vectors(void **state) {
        static const struct {
                size_t size;
                uint64_t hash;
        } vectors[] = {
                { 0, 0x726fdb47dd0e0e31 }, { 1, 0x74f839c593dc67fd }, { 7, 0xab0200f58b01d137 },
                { 8, 0x93f5f5799a932462 }, { 9, 0x9e0082df0ba9e4b0 }, { 15, 0xa129ca6149be45e5 },
        };
        uint8_t key[16], data[16];

        for (uint8_t i = 0; i < 16; i++)
                key[i] = data[i] = i;
        for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
                assert_true(siphash(key, data, vectors[i].size) == vectors[i].hash);
}

static void test_key_matters(void **state) {
        uint8_t a[16] = { 1 }, b[16] = { 2 };

        assert_true(siphash(a, "web", 3) != siphash(b, "web", 3));
        assert_true(siphash(a, "web", 3) != siphash(a, "wec", 3));
}

HARNESS_MAIN(cmocka_unit_test(test_vectors), cmocka_unit_test(test_key_matters))
