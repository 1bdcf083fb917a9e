/* Usage: the help texts, made from the table of commands. */
#include "cli/usage.h"

#include <string.h>

#include "base/memory.h"
#include "base/text.h"

const struct option_spec common_options[] = {
        { "system", NULL, "Talk to the system's broker (root always does)." },
        { "help", NULL, "Show this help." },
};
const size_t n_common_options = ARRAY_SIZE(common_options);

#define OPTION_COLUMN 22 /* where the texts of options begin */
#define HELP_WIDTH 80 /* columns of the narrowest terminal that is usual */

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

static void begin_line(FILE *out, int indent) {
        fprintf(out, "\n%*s", indent, "");
}

/* From where the output is, column `indent`, on. The lines of the text flow as far as HELP_WIDTH; empty ones, and those
 * that begin with a blank, stand as they are. */
static void print_text(FILE *out, const char *text, int indent) {
        bool flows = true; /* whether the line before goes on */
        int column = indent;

        for (const char *line = text;; line++) {
                const char *end = line + strcspn(line, "\n");
                bool stands = line == end || *line == ' ';

                if (line > text && (stands || !flows)) {
                        begin_line(out, indent);
                        column = indent;
                }
                while (line < end) {
                        int n = stands ? (int)(end - line) : (int)strcspn(line, " \n");

                        if (column > indent && column + 1 + n > HELP_WIDTH) {
                                begin_line(out, indent);
                                column = indent;
                        }
                        column += fprintf(out, "%s%.*s", column > indent ? " " : "", n, line);
                        line += n + (line[n] == ' ');
                }
                flows = !stands;
                if (!*line)
                        break;
        }
        fprintf(out, "\n");
}

static void print_options(FILE *out, const struct option_spec *options, size_t n_options) {
        for (size_t i = 0; i < n_options; i++) {
                int n = fprintf(out, "  %s%s%s%s", options[i].name[1] ? "--" : "-", options[i].name,
                                options[i].value ? " " : "", options[i].value ? options[i].value : "");

                /* A long option gets its text on the next line. */
                if (n > OPTION_COLUMN - 2)
                        begin_line(out, OPTION_COLUMN);
                else
                        fprintf(out, "%*s", OPTION_COLUMN - n, "");
                print_text(out, options[i].help, OPTION_COLUMN);
        }
}

void usage_print(FILE *out, const struct command *const *commands, size_t n_commands) {
        bool vm = n_commands > 0 && text_starts_with(commands[0]->name, "vm ");
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
        fprintf(out, "\n`berth COMMAND --help` says more; so does berth%s(1).\n", vm ? "-vm" : "");
}

void usage_print_command(FILE *out, const struct command *command) {
        fprintf(out, "Usage: ");
        print_synopsis(out, command);
        fprintf(out, "\n");
        print_text(out, command->help, 0);
        fprintf(out, "\nOptions:\n");
        print_options(out, command->shared_options, command->n_shared_options);
        print_options(out, command->options, command->n_options);
        print_options(out, common_options, n_common_options);
}
