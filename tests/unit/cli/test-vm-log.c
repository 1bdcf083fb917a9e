/* cli/vm-log: the console's log, with its rotation. */
#include "harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/vm-log.h"

/* Standard output is where a log is printed to; here it is a file while a test looks. */
struct capture {
        int saved, file;
};

static void capture_begin(struct capture *capture) {
        fflush(stdout);
        capture->saved = fd_dup(STDOUT_FILENO);
        capture->file = memfd_create("output", MFD_CLOEXEC);
        assert_true(capture->saved >= 0 && capture->file >= 0);
        assert_true(dup2(capture->file, STDOUT_FILENO) >= 0);
}

/* What was printed, to be freed. */
static char *capture_end(struct capture *capture) {
        off_t size;
        char *text;

        fflush(stdout);
        dup2(capture->saved, STDOUT_FILENO);
        fd_close(capture->saved);
        size = lseek(capture->file, 0, SEEK_END);
        text = calloc(1, (size_t)size + 1);
        assert_non_null(text);
        assert_int_equal(pread(capture->file, text, (size_t)size, 0), size);
        fd_close(capture->file);
        return text;
}

struct world {
        struct vm vm;
        int log; /* open for appending, as QEMU has it */
};

static char *path_of(const struct world *world, const char *name) {
        char *path = text_format("%s/%s", world->vm.directory, name);

        assert_non_null(path);
        return path;
}

static void begin_log(struct world *world) {
        _cleanup_free_ char *path = path_of(world, "console.log");

        fd_close(world->log);
        world->log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        assert_true(world->log >= 0);
}

static void append(const struct world *world, const char *text) {
        assert_int_equal(write(world->log, text, strlen(text)), (ssize_t)strlen(text));
}

static int setup(void **state) {
        static struct world world;

        world = (struct world){ .vm.name = (char *)"web", .log = -1 };
        world.vm.directory = harness_make_directory();
        *state = &world;
        return 0;
}

static int teardown(void **state) {
        struct world *world = *state;

        fd_close(world->log);
        harness_remove_directory(world->vm.directory);
        return 0;
}

static void expect_drain(struct vm_log *log, const char *expected) {
        _cleanup_free_ char *text = NULL;
        struct capture capture;
        int r;

        capture_begin(&capture);
        r = vm_log_drain(log, NULL);
        text = capture_end(&capture);
        assert_int_equal(r, 0);
        assert_string_equal(text, expected);
}

static void test_lines(void **state) {
        static const struct {
                const char *content;
                uint64_t lines;
                const char *expected;
        } cases[] = {
                { "", 3, "" },
                { "a\nb\nc\n", UINT64_MAX, "a\nb\nc\n" },
                { "a\nb\nc\n", 0, "" },
                { "a\nb\nc\n", 1, "c\n" },
                { "a\nb\nc\n", 2, "b\nc\n" },
                { "a\nb\nc\n", 3, "a\nb\nc\n" },
                { "a\nb\nc\n", 9, "a\nb\nc\n" },
                { "a\nb\nunfinished", 1, "unfinished" },
                { "a\nb\nunfinished", 2, "b\nunfinished" },
                { "\n\n\n", 2, "\n\n" },
        };
        struct world *world = *state;
        _cleanup_free_ char *path = path_of(world, "console.log");

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(vm_log_close) struct vm_log log = VM_LOG_INIT;
                _cleanup_free_ char *text = NULL;
                struct capture capture;
                int r;

                unlink(path);
                begin_log(world);
                append(world, cases[i].content);
                assert_int_equal(vm_log_open(&log, &world->vm, NULL), 0);
                capture_begin(&capture);
                r = vm_log_print(&log, cases[i].lines, false, NULL);
                text = capture_end(&capture);
                assert_int_equal(r, 0);
                assert_string_equal(text, cases[i].expected);
                append(world, "more");
                expect_drain(&log, "more");
        }
}

/* Lines longer than what is read at once. */
static void test_long_lines(void **state) {
        struct world *world = *state;
        _cleanup_(vm_log_close) struct vm_log log = VM_LOG_INIT;
        _cleanup_free_ char *line = malloc(200002), *text = NULL;
        struct capture capture;
        int r;

        memset(line, 'x', 200000);
        strcpy(line + 200000, "\n");
        begin_log(world);
        for (int i = 0; i < 3; i++)
                append(world, line);
        assert_int_equal(vm_log_open(&log, &world->vm, NULL), 0);
        capture_begin(&capture);
        r = vm_log_print(&log, 2, false, NULL);
        text = capture_end(&capture);
        assert_int_equal(r, 0);
        assert_int_equal(strlen(text), 2 * 200001);
}

/* A new run: the log is renamed, and another begins. */
static void test_new_run(void **state) {
        struct world *world = *state;
        _cleanup_free_ char *path = path_of(world, "console.log"), *old = path_of(world, "console.log.1");
        _cleanup_(vm_log_close) struct vm_log log = VM_LOG_INIT;
        _cleanup_free_ char *text = NULL;
        struct capture capture;

        assert_int_equal(vm_log_open(&log, &world->vm, NULL), 0);
        expect_drain(&log, "");
        begin_log(world);
        append(world, "one");
        expect_drain(&log, "one");
        append(world, " two");
        assert_int_equal(rename(path, old), 0);
        append(world, " three");
        begin_log(world);
        append(world, "new");
        expect_drain(&log, " two threenew");
        expect_drain(&log, "");
        capture_begin(&capture);
        assert_int_equal(vm_log_print(&log, UINT64_MAX, true, NULL), 0);
        text = capture_end(&capture);
        assert_string_equal(text, "one two threenew");
}

/* As vmhost does it: the log is made shorter, and a new file with what was cut off takes the old one's place.
 */
static void cut(const struct world *world, const char *older, const char *newer) {
        _cleanup_free_ char *old = path_of(world, "console.log.1");

        assert_int_equal(ftruncate(world->log, 0), 0);
        append(world, newer);
        assert_int_equal(file_write(old, older, strlen(older), 0600, false, NULL), 0);
}

/* A log that grew too long, in either way that it can be made shorter under QEMU's hands: all of it moved
 * away, or its older part. */
static void test_rotation(void **state) {
        struct world *world = *state;
        _cleanup_(vm_log_close) struct vm_log log = VM_LOG_INIT;

        begin_log(world);
        append(world, "0123456789");
        assert_int_equal(vm_log_open(&log, &world->vm, NULL), 0);
        expect_drain(&log, "0123456789");
        cut(world, "0123456789abc", "de");
        expect_drain(&log, "abcde");
        append(world, "fghij");
        expect_drain(&log, "fghij");
        cut(world, "def", "ghijk");
        expect_drain(&log, "k");

        /* More has come since than was printed before. */
        append(world, "and a lot more of it");
        cut(world, "ghijkand a lot", " more of it");
        append(world, ", and more");
        expect_drain(&log, "and a lot more of it, and more");

        /* Looked at between the two steps: nothing is printed twice, and nothing lost. */
        assert_int_equal(ftruncate(world->log, 0), 0);
        expect_drain(&log, "");
        cut(world, " more of it, and morel", "m");
        expect_drain(&log, "lm");
}

/* What vm_log_follow returns where nothing runs: at once, with all that is there. */
static void test_follow_ended(void **state) {
        struct world *world = *state;
        _cleanup_(vm_log_close) struct vm_log log = VM_LOG_INIT;
        _cleanup_free_ char *text = NULL;
        struct capture capture;
        int r;

        begin_log(world);
        append(world, "all");
        assert_int_equal(vm_log_open(&log, &world->vm, NULL), 0);
        capture_begin(&capture);
        r = vm_log_follow(&log, -1, NULL);
        text = capture_end(&capture);
        assert_int_equal(r, 0);
        assert_string_equal(text, "all");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

HARNESS_MAIN(TEST(test_lines), TEST(test_long_lines), TEST(test_new_run), TEST(test_rotation),
             TEST(test_follow_ended))
