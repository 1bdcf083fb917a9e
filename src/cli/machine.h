/* The machine: whether it has what networks and VMs need, and what to do where it has not. */
#pragma once

#include <stdbool.h>

enum machine_result {
        MACHINE_OK,
        MACHINE_SLOW, /* all works, but not as fast as it could */
        MACHINE_MISSING, /* networks cannot work, or VMs where it is for them */
};

struct machine_check {
        const char *name;
        enum machine_result result;
        char text[200]; /* what was found */
        char advice[200]; /* what to do; "" when all is well */
};

#define MACHINE_CHECKS_MAX 12

/* Looks at what a network in user mode or in system mode needs, and what VMs need. Changes nothing. Returns
 * how many checks there are. */
unsigned machine_look(bool system, struct machine_check ret[static MACHINE_CHECKS_MAX]);

const char *machine_result_text(enum machine_result result);
