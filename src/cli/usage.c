/* Usage: the help texts, made from the table of commands. */
#include "cli/usage.h"

#include <string.h>

#include "base/memory.h"

const struct option_spec common_options[] = {
        { "system", NULL, "Talk to the system's broker (root always does)." },
        { "help", NULL, "Show this help." },
};
const size_t n_common_options = ARRAY_SIZE(common_options);

#define OPTION_COLUMN 22 /* where the texts of options begin */

static void print_synopsis(FILE *out, const struct command *command) {
        fprintf(out, "berth %s", command->name);
        if (command->n_options + command->n_shared_options > 0)
                fprintf(out, " [OPTION...]");
        if (command->operands)
                fprintf(out, " %s", command->operands);
        if (command->trailing == TRAILING_COMMAND)
                fprintf(out, " -- COMMAND [ARGUMENT...]");
        else if (command->trailing == TRAILING_OPTIONAL)
                fprintf(out, " [-- COMMAND [ARGUMENT...]]");
        fprintf(out, "\n");
}

static void print_options(FILE *out, const struct option_spec *options, size_t n_options) {
        for (size_t i = 0; i < n_options; i++) {
                int n = fprintf(out, "  %s%s%s%s", options[i].name[1] ? "--" : "-", options[i].name,
                                options[i].value ? " " : "", options[i].value ? options[i].value : "");
                const char *line = options[i].help;

                /* A long option gets its text on the next line. */
                if (n > OPTION_COLUMN - 2) {
                        fprintf(out, "\n");
                        n = 0;
                }
                for (;;) {
                        int length = (int)strcspn(line, "\n");

                        fprintf(out, "%*s%.*s\n", OPTION_COLUMN - n, "", length, line);
                        if (!line[length])
                                break;
                        line += length + 1;
                        n = 0;
                }
        }
}

void usage_print(FILE *out, const struct command *const *commands, size_t n_commands) {
        size_t widest = 0;

        fprintf(out,
                "Usage: berth COMMAND [ARGUMENT...]\n\nNamed networks for virtual machines.\n\nCommands:\n");
        for (size_t i = 0; i < n_commands; i++)
                if (strlen(commands[i]->name) > widest)
                        widest = strlen(commands[i]->name);
        for (size_t i = 0; i < n_commands; i++)
                fprintf(out, "  %-*s  %s\n", (int)widest, commands[i]->name, commands[i]->summary);
        fprintf(out, "\nOptions:\n");
        print_options(out, common_options, n_common_options);
        print_options(out, &(struct option_spec){ "version", NULL, "Show the version." }, 1);
        fprintf(out, "\n`berth COMMAND --help` says more; so does berth(1).\n");
}

void usage_print_command(FILE *out, const struct command *command) {
        fprintf(out, "Usage: ");
        print_synopsis(out, command);
        fprintf(out, "\n%s\n\nOptions:\n", command->help);
        print_options(out, command->shared_options, command->n_shared_options);
        print_options(out, command->options, command->n_options);
        print_options(out, common_options, n_common_options);
}
