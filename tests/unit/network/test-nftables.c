/* network/nftables: what goes wrong */
#include "harness.h"

#include <errno.h>
#include <string.h>

#include "network/nftables.h"

/* A line that is wrong and long. */
static void print_nonsense(FILE *f, struct nft_ctx *nft, const void *data) {
        for (int i = 0; i < 200000; i++)
                fputs(" x", f);
        fputc('\n', f);
}

/* More is said than a pipe holds: of that the beginning is told, and nobody waits. */
static void test_long_reason(void **state) {
        struct error error = ERROR_INIT;

        assert_int_equal(nftables_apply(-1, print_nonsense, NULL, &error), -EINVAL);
        assert_non_null(strstr(error.text, "nftables refused the rules: "));
        assert_non_null(strstr(error.text, "rror"));
}

HARNESS_MAIN(cmocka_unit_test(test_long_reason))
