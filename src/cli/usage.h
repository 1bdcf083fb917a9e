/* Usage: the help texts, made from the table of commands. */
#pragma once

#include <stdio.h>

#include "cli/command.h"

/* Options that every command takes. */
extern const struct option_spec common_options[];
extern const size_t n_common_options;

void usage_print(FILE *out, const struct command *const *commands, size_t n_commands);
void usage_print_command(FILE *out, const struct command *command);
