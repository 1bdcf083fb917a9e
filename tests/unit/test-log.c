/* base/log */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"

/* Standard error becomes a pipe; what was written to it comes back. */
struct capture {
        int saved, pipe[2];
        char text[8192];
};

static void capture_begin(struct capture *c) {
        assert_int_equal(pipe2(c->pipe, O_CLOEXEC | O_NONBLOCK), 0);
        c->saved = fd_dup(STDERR_FILENO);
        assert_int_equal(dup2(c->pipe[1], STDERR_FILENO), STDERR_FILENO);
}

static const char *capture_end(struct capture *c) {
        ssize_t n = read(c->pipe[0], c->text, sizeof(c->text) - 1);

        dup2(c->saved, STDERR_FILENO);
        fd_close(c->saved);
        fd_close(c->pipe[0]);
        fd_close(c->pipe[1]);
        c->text[n > 0 ? n : 0] = '\0';
        return c->text;
}

static void test_plain(void **state) {
        struct capture c;
        const char *line;

        unsetenv("JOURNAL_STREAM");
        log_set_name("berthd");
        capture_begin(&c);
        errno = ENOTTY;
        log_error("no %s", "way");
        assert_int_equal(errno, ENOTTY);
        log_info("fine");
        log_debug("not to be seen");
        line = capture_end(&c);
        assert_non_null(strstr(line, " berthd: error: no way\n"));
        assert_non_null(strstr(line, " berthd: fine\n"));
        assert_null(strstr(line, "not to be seen"));
}

static void test_level(void **state) {
        struct capture c;
        const char *line;

        log_set_level(LOG_LEVEL_DEBUG);
        capture_begin(&c);
        log_debug("seen");
        log_set_level(LOG_LEVEL_ERROR);
        log_warning("unseen");
        line = capture_end(&c);
        log_set_level(LOG_LEVEL_INFO);
        assert_non_null(strstr(line, ": seen\n"));
        assert_null(strstr(line, "unseen"));
}

/* The priority is for the journal alone: a JOURNAL_STREAM that is another's, as terminals inherit it, does
 * not count. */
static void test_journal(void **state) {
        struct capture c;
        struct stat st;
        char *stream;

        capture_begin(&c);
        assert_int_equal(fstat(STDERR_FILENO, &st), 0);
        stream = text_format("%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
        setenv("JOURNAL_STREAM", stream, 1);
        free(stream);
        log_warning("careful");
        assert_string_equal(capture_end(&c), "<4>careful\n");

        setenv("JOURNAL_STREAM", "1:1", 1);
        capture_begin(&c);
        log_warning("careful");
        assert_non_null(strstr(capture_end(&c), "warning: careful\n"));
        unsetenv("JOURNAL_STREAM");
}

static void test_one_line(void **state) {
        struct capture c;
        char input[5000];
        const char *line;
        int n_cut = 0;

        memset(input, 'x', sizeof(input) - 1);
        input[sizeof(input) - 1] = '\0';
        capture_begin(&c);
        log_info("a\nb\x1b[31mc\r\x7f");
        line = capture_end(&c);
        assert_non_null(strstr(line, "a b [31mc  \n"));

        /* The same beyond ASCII (U+009B is ESC and a bracket), and what is no character at all. */
        capture_begin(&c);
        log_info("%s", "a\xc2\x9b"
                       "31mb\x9b\xc2 \xc3\xbc.");
        line = capture_end(&c);
        assert_non_null(strstr(line, "a  31mb?? \xc3\xbc.\n"));

        /* A character that the end cuts is none. */
        for (size_t i = 0; i + 2 < sizeof(input); i += 2)
                memcpy(input + i, "\xc3\xbc", 2);
        for (int shift = 0; shift < 2; shift++) {
                capture_begin(&c);
                log_info("%s%s", shift ? "x" : "", input);
                line = capture_end(&c);
                char *made = strdup(line);
                text_make_utf8(made);
                /* The two lengths end within a character by turns. */
                n_cut += strstr(line, "?\n") != NULL;
                assert_string_equal(made, line);
                free(made);
        }
        assert_int_equal(n_cut, 1);
        memset(input, 'x', sizeof(input) - 1);

        capture_begin(&c);
        log_info("%s", input);
        line = capture_end(&c);
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
        assert_true(strlen(line) > 1000);
}

HARNESS_MAIN(cmocka_unit_test(test_plain), cmocka_unit_test(test_level), cmocka_unit_test(test_journal),
             cmocka_unit_test(test_one_line))
