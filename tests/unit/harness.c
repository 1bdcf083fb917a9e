/* What every unit test program shares: cmocka, its main, and the check for leaked file descriptors. */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"

/* Where a test hangs there is a bug: the program ends with SIGALRM, and the runner says so. */
#define HANG_SECONDS 100

int harness_run(const struct CMUnitTest *tests, size_t n) {
        size_t before = fd_count_open(), after;
        int failed;

        alarm(HANG_SECONDS);
        failed = _cmocka_run_group_tests("unit", tests, n, NULL, NULL);
        after = fd_count_open();
        if (after != before) {
                printf("# %zd file descriptors leaked\n", (ssize_t)(after - before));
                return 1;
        }
        return failed ? 1 : 0;
}

char *harness_make_directory(void) {
        const char *parent = getenv("TMPDIR");
        char *path = text_format("%s/berth-test-XXXXXX", parent ? parent : "/tmp");

        assert_non_null(path);
        assert_non_null(mkdtemp(path));
        return path;
}

void harness_remove_directory(char *path) {
        assert_int_equal(file_remove_tree(path, NULL), 0);
        free(path);
}
