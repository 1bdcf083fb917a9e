/* berth vm logs: what a VM's console printed. */
#include <errno.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/vm-log.h"
#include "cli/vm-request.h"
#include "cli/vm-state.h"

static int run_vm_logs(struct session *session, const struct arguments *arguments) {
        _cleanup_(vm_log_close) struct vm_log log = VM_LOG_INIT;
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        const char *number = arguments_value(arguments, "n");
        bool older = arguments_has(arguments, "all"), follows = arguments_has(arguments, "f");
        uint64_t lines = UINT64_MAX;
        int r;

        if (number && text_parse_u64(number, UINT64_MAX - 1, &lines) < 0)
                return session_misused(session, "-n %s: not a number of lines", number);
        r = vm_find(session, arguments->operands[0], &vm);
        if (r == 0)
                r = vm_log_open(&log, &vm, &session->error);
        if (r < 0)
                return r;
        /* One that is on its way has its log in a moment. */
        if (log.fd < 0 && (!follows || vm_presence(vm.directory) == VM_PRESENCE_NONE))
                return error_set(&session->error, -ENOENT,
                                 "VM %s has no console log: it never ran\n`berth vm start %s` starts it",
                                 vm.name, vm.name);
        r = vm_log_print(&log, lines, older, &session->error);
        /* One that is frozen would be followed without an end, and without a word. */
        if (r == 0 && follows && vm_presence(vm.directory) == VM_PRESENCE_HOSTED)
                r = vm_check_answers(session, &vm, VM_REQUEST_TIMEOUT_MS);
        if (r == -EHOSTDOWN)
                r = 0;
        if (r == 0 && follows)
                r = vm_log_follow(&log, -1, &session->error);
        return r < 0 ? r : STATUS_OK;
}

static const struct option_spec options[] = {
        { "f", NULL, "Go on with what comes, until the VM has ended." },
        { "n", "LINES", "Only the last so many lines." },
        { "all", NULL,
          "First what is left of what was printed before: by earlier\nruns, or by one that printed much." },
};

const struct command command_vm_logs = {
        .name = "vm logs",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Show what a VM's console printed",
        .help = "Shows what the console of a VM printed in its last run, from the first byte on.",
        .options = options,
        .n_options = ARRAY_SIZE(options),
        .failure = STATUS_FAILED,
        .run = run_vm_logs,
};
