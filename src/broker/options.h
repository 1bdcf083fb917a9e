/* Options: berthd's command line. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

#define OPTIONS_IDLE_TIMEOUT 120 /* seconds */

struct options {
        bool system; /* by default for root alone */
        bool foreground; /* log to standard error in user mode too */
        bool debug;
        const char *socket, *state, *definitions, *network_program; /* NULL: the usual place */
        unsigned idle_timeout; /* seconds */
        int ready_fd; /* -1: none */
};

enum options_result {
        OPTIONS_RUN = 0,
        OPTIONS_DONE = 1, /* --help or --version has been printed */
};

/* An enum options_result, or -EINVAL with a text. Strings are borrowed from argv. */
int options_parse(int argc, char **argv, struct options *ret, struct error *error);
