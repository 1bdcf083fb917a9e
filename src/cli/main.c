/*
 * berth: the command line of Berth.
 *
 * A command is one or two words ("run", "net ls"); the table below is all there is, and the help is made from
 * it.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/usage.h"

static const struct command *const commands[] = {
        &command_run,       &command_net_ls,     &command_net_show, &command_net_remove, &command_net_enter,
        &command_vm_create, &command_vm_start,   &command_vm_stop,  &command_vm_restart, &command_vm_kill,
        &command_vm_cont,   &command_vm_rm,      &command_vm_ls,    &command_vm_show,    &command_vm_wait,
        &command_vm_logs,   &command_vm_console, &command_vm_ssh,   &command_vm_exec,    &command_vm_events,
        &command_vm_run,    &command_status,
};

static int complain(const struct error *error, enum status status) {
        const char *line = error_text(error, error->code);

        fflush(stdout); /* below what was printed, also where both end in one file */
        /* A second line says what to do next. */
        while (*line) {
                int n = (int)strcspn(line, "\n");

                fprintf(stderr, "berth: %.*s\n", n, line);
                line += n;
                line += *line == '\n';
        }
        return status;
}

/* Moves *argv behind the words of the command's name; NULL when there is no such command. */
static const struct command *find_command(char ***argv) {
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
                const char *name = commands[i]->name, *second = strchr(name, ' ');
                size_t length = second ? (size_t)(second - name) : strlen(name);

                if (strlen((*argv)[0]) != length || strncmp((*argv)[0], name, length) != 0)
                        continue;
                if (second && !text_equal((*argv)[1], second + 1))
                        continue;
                *argv += second ? 2 : 1;
                return commands[i];
        }
        return NULL;
}

/* The commands of two words that begin with this one; how many. */
static size_t find_group(const char *word, const struct command *group[static ARRAY_SIZE(commands)]) {
        size_t n = 0, length = strlen(word);

        for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
                if (strncmp(commands[i]->name, word, length) == 0 && commands[i]->name[length] == ' ')
                        group[n++] = commands[i];
        return n;
}

/* argv is where the command's name should be. */
static int unknown_command(char **argv) {
        const char *names[ARRAY_SIZE(commands)], *nearest = NULL;
        const struct command *group[ARRAY_SIZE(commands)];
        size_t n_group = find_group(argv[0], group);
        _cleanup_free_ char *typed = NULL;

        for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
                names[i] = commands[i]->name;
        typed = argv[1] ? text_format("%s %s", argv[0], argv[1]) : strdup(argv[0]);
        if (typed)
                nearest = arguments_nearest(typed, names, ARRAY_SIZE(names));
        if (!nearest)
                nearest = arguments_nearest(argv[0], names, ARRAY_SIZE(names));

        if (n_group > 0 && !argv[1])
                usage_print(stderr, group, n_group);
        else if (nearest)
                fprintf(stderr, "berth: unknown command %s; did you mean `berth %s`?\n",
                        n_group > 0 && typed ? typed : argv[0], nearest);
        else
                fprintf(stderr, "berth: unknown %s %s; `berth%s%s --help` lists them\n",
                        argv[0][0] == '-' ? "option" : "command", n_group > 0 && typed ? typed : argv[0],
                        n_group > 0 ? " " : "",
                        n_group > 0 ? argv[0] : "");
        return STATUS_MISUSED;
}

static int check_operands(const struct command *command, const struct arguments *arguments,
                          struct error *error) {
        if (arguments->n_operands < command->min_operands)
                return error_set(error, -EINVAL, "%s is missing", command->operands);
        if (arguments->n_operands > command->max_operands)
                return error_set(error, -EINVAL, "unexpected %s", arguments->operands[command->max_operands]);
        if (command->trailing == TRAILING_COMMAND && arguments->n_command == 0)
                return error_set(error, -EINVAL, "the command to run is missing");
        return 0;
}

/* The options of a command with those that all have: an array of *ret_n, to be freed, or NULL. */
static struct option_spec *collect_options(const struct command *command, size_t *ret_n) {
        size_t n = command->n_options, shared = command->n_shared_options;
        struct option_spec *specs = calloc(n + shared + n_common_options, sizeof(*specs));

        if (!specs)
                return NULL;
        if (n > 0)
                memcpy(specs, command->options, n * sizeof(*specs));
        if (shared > 0)
                memcpy(specs + n, command->shared_options, shared * sizeof(*specs));
        memcpy(specs + n + shared, common_options, n_common_options * sizeof(*specs));
        *ret_n = n + shared + n_common_options;
        return specs;
}

static int run_command(const struct command *command, struct session *session, char **argv) {
        _cleanup_(arguments_deinit) struct arguments arguments = { 0 };
        _cleanup_free_ struct option_spec *specs = NULL;
        size_t n_specs = 0;
        int r;

        specs = collect_options(command, &n_specs);
        if (!specs)
                return complain(&(struct error){ .code = -ENOMEM }, command->failure);
        r = arguments_parse(&arguments, specs, n_specs, command->trailing, command->max_operands, argv,
                            &session->error);
        if (r == 0 && arguments_has(&arguments, "help")) {
                usage_print_command(stdout, command);
                return STATUS_OK;
        }
        if (r == 0)
                r = check_operands(command, &arguments, &session->error);
        if (r < 0) {
                session->misused = true;
        } else {
                session->system = session->system || arguments_has(&arguments, "system");
                r = command->run(session, &arguments);
        }
        if (r >= 0)
                return r;
        complain(&session->error, command->failure);
        if (!session->misused)
                return command->failure;
        fprintf(stderr, "berth: `berth %s --help` shows how it is used\n", command->name);
        return STATUS_MISUSED;
}

/* The exit status. */
static int run(char **argv) {
        _cleanup_(session_deinit) struct session session = { .error = ERROR_INIT };
        const struct command *command, *group[ARRAY_SIZE(commands)];
        size_t n_group;

        if (text_equal(*argv, "--system")) {
                session.system = true;
                argv++;
        }
        if (!*argv) {
                usage_print(stderr, commands, ARRAY_SIZE(commands));
                return STATUS_MISUSED;
        }
        if (text_equal(*argv, "--help") || text_equal(*argv, "-h") || text_equal(*argv, "help")) {
                usage_print(stdout, commands, ARRAY_SIZE(commands));
                return STATUS_OK;
        }
        if (text_equal(*argv, "--version")) {
                printf("berth %s\n", berth_version());
                return STATUS_OK;
        }
        n_group = find_group(*argv, group);
        if (n_group > 0 && (text_equal(argv[1], "--help") || text_equal(argv[1], "-h"))) {
                usage_print(stdout, group, n_group);
                return STATUS_OK;
        }
        command = find_command(&argv);
        return command ? run_command(command, &session, argv) : unknown_command(argv);
}

int main(int argc, char **argv) {
        int status;

        fd_fill_standard(); /* where even that fails, no command will do better */
        signal(SIGCHLD, SIG_DFL); /* ignored, as some starters leave it, it takes children's ends from us */
        status = run(argv + (argc > 0));
        /* What a flush before this one could not write is gone, and only the stream's mark tells. */
        bool lost = ferror(stdout);

        errno = 0;
        /* What was printed is the result: a full disk or a closed pipe must not look like success. */
        if ((fflush(stdout) == 0 && !lost) || status != STATUS_OK)
                return status;
        fprintf(stderr, "berth: cannot write to standard output%s%s\n", errno ? ": " : "",
                errno ? strerror(errno) : "");
        return STATUS_FAILED;
}
