/* Commands: what `berth` can be asked to do, one file each, and the table of them. */
#pragma once

#include "cli/arguments.h"
#include "cli/session.h"

/* Exit statuses. `run` and `net enter` keep 126 and 127 apart as the shell does, and fail with 125
 * themselves. */
enum status {
        STATUS_OK = 0,
        STATUS_FAILED = 1,
        STATUS_MISUSED = 2,
        STATUS_NOT_RUN = 125,
        STATUS_NOT_EXECUTABLE = 126,
        STATUS_NOT_FOUND = 127,
};

struct command {
        const char *name; /* "net ls" */
        const char *operands; /* as the usage line shows them, or NULL */
        size_t min_operands, max_operands;
        enum trailing trailing;
        const char *summary; /* one line for the list of commands */
        const char *help; /* paragraphs below the usage line */
        const struct option_spec *options;
        size_t n_options;
        const struct option_spec *shared_options; /* those that it has in common with another */
        size_t n_shared_options;
        enum status failure; /* the exit status when run returns a negative errno */
        /* The exit status; or a negative errno, with the reason in session->error. */
        int (*run)(struct session *session, const struct arguments *arguments);
};

extern const struct command command_net_enter;
extern const struct command command_net_ls;
extern const struct command command_net_remove;
extern const struct command command_net_show;
extern const struct command command_run;
extern const struct command command_status;
extern const struct command command_vm_console;
extern const struct command command_vm_cont;
extern const struct command command_vm_create;
extern const struct command command_vm_events;
extern const struct command command_vm_exec;
extern const struct command command_vm_kill;
extern const struct command command_vm_logs;
extern const struct command command_vm_ls;
extern const struct command command_vm_restart;
extern const struct command command_vm_rm;
extern const struct command command_vm_run;
extern const struct command command_vm_show;
extern const struct command command_vm_ssh;
extern const struct command command_vm_start;
extern const struct command command_vm_stop;
extern const struct command command_vm_wait;
