/* cli/arguments: options, operands, and where a command line of another program begins. */
#include "harness.h"

#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "cli/arguments.h"

static const struct option_spec specs[] = {
        { "network", "NETWORK", "" },
        { "dry-run", NULL, "" },
        { "help", NULL, "" },
};

static int parse(struct arguments *ret, enum trailing trailing, size_t n_operands, char **argv,
                 struct error *error) {
        return arguments_parse(ret, specs, ARRAY_SIZE(specs), trailing, n_operands, argv, error);
}

#define ARGV(...) ((char *[]){ __VA_ARGS__, NULL })

static void test_options(void **state) {
        _cleanup_(arguments_deinit) struct arguments a = { 0 };

        assert_int_equal(parse(&a, TRAILING_NONE, 1,
                               ARGV((char *)"--network", (char *)"a", (char *)"one", (char *)"--network=b",
                                    (char *)"--network=", (char *)"-h"),
                               NULL),
                         0);
        assert_int_equal(a.n_options, 4);
        assert_string_equal(a.options[0].value, "a");
        assert_string_equal(a.options[1].value, "b");
        assert_string_equal(a.options[2].value, "");
        assert_true(arguments_has(&a, "help"));
        assert_false(arguments_has(&a, "dry-run"));
        assert_int_equal(a.n_operands, 1);
        assert_string_equal(a.operands[0], "one");
        assert_int_equal(a.n_command, 0);
}

static void test_command(void **state) {
        _cleanup_(arguments_deinit) struct arguments a = { 0 }, b = { 0 }, c = { 0 };

        assert_int_equal(parse(&a, TRAILING_COMMAND, 0,
                               ARGV((char *)"--dry-run", (char *)"--", (char *)"--network"), NULL),
                         0);
        assert_true(arguments_has(&a, "dry-run"));
        assert_int_equal(a.n_command, 1);
        assert_string_equal(a.command[0], "--network");

        /* Without "--" it begins with the first word behind the operands. */
        assert_int_equal(parse(&b, TRAILING_COMMAND, 1,
                               ARGV((char *)"name", (char *)"ls", (char *)"--dry-run", (char *)"--"), NULL),
                         0);
        assert_int_equal(b.n_operands, 1);
        assert_string_equal(b.operands[0], "name");
        assert_int_equal(b.n_command, 3);
        assert_false(arguments_has(&b, "dry-run"));

        /* Where no command may follow, "--" only ends the options. */
        assert_int_equal(parse(&c, TRAILING_NONE, 1, ARGV((char *)"--", (char *)"--dry-run"), NULL), 0);
        assert_int_equal(c.n_operands, 1);
        assert_int_equal(c.n_command, 0);
}

static void test_errors(void **state) {
        static const struct {
                const char *word, *reason;
        } cases[] = {
                { "--netwrok", "did you mean --network?" }, { "--netwrok=x", "unknown option --netwrok;" },
                { "--zzz", "unknown option --zzz" },        { "--network", "needs a value" },
                { "--dry-run=yes", "takes no value" },      { "-x", "unknown option -x" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct arguments a = { 0 };
                struct error error = ERROR_INIT;

                assert_int_equal(parse(&a, TRAILING_NONE, 1, ARGV((char *)cases[i].word), &error), -EINVAL);
                assert_non_null(strstr(error.text, cases[i].reason));
        }
}

static void test_nearest(void **state) {
        static const char *const words[] = { "run", "net ls", "net show", "status" };

        assert_string_equal(arguments_nearest("runn", words, 4), "run");
        assert_string_equal(arguments_nearest("sttus", words, 4), "status");
        assert_string_equal(arguments_nearest("net shwo", words, 4), "net show");
        assert_string_equal(arguments_nearest("run", words, 4), "run");
        assert_null(arguments_nearest("zzzzzz", words, 4));
        assert_null(arguments_nearest("", words, 4));
        assert_null(arguments_nearest("a word that is longer than any that is compared", words, 4));
}

HARNESS_MAIN(cmocka_unit_test(test_options), cmocka_unit_test(test_command), cmocka_unit_test(test_errors),
             cmocka_unit_test(test_nearest))
