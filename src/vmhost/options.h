/* Options: the command line of vmhost. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmhost/controller-fake.h"

struct options {
        const char *name; /* of the VM */
        bool fake; /* the backend */
        enum fake_behaviour fake_behaviour;
        uint16_t fake_ssh_port;
        const char *config_directory; /* NULL: the default */
        bool adopt; /* what runs, or nothing */
        bool foreground;
        bool no_wait; /* the starter goes on as soon as the control socket is there */
        bool debug;
        bool check; /* show the configuration, and that is all */
        const char *check_file; /* in place of the VM's own; NULL: none */
};

enum options_result { OPTIONS_RUN = 0, OPTIONS_DONE = 1 };

/* An enum options_result (DONE: --help or --version was answered), or -EINVAL with a text. Strings are
 * argv's. */
int options_parse(int argc, char **argv, struct options *ret, struct error *error);
