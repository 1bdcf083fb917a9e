/* berth vm console: a VM's serial console. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/command.h"
#include "cli/vm-attach.h"
#include "cli/vm-request.h"
#include "cli/vm-state.h"
#include "cli/vm-view.h"

/* How it ended, when it did. */
static void tell_end(const struct vm *vm) {
        char line[VM_VIEW_LINE_SIZE];
        json_auto_t *state = NULL;
        const json_t *end;

        vm_state_load(vm->directory, &state, NULL);
        end = json_object_get(state, "last_end");
        fprintf(stderr, "\n[berth: %s%s%s]\n", vm->name, end ? ": " : " has ended",
                end ? vm_view_end(end, line) : "");
}

static int run_vm_console(struct session *session, const struct arguments *arguments) {
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        int r, number = 0;

        r = vm_find(session, arguments->operands[0], &vm);
        if (r < 0)
                return r;
        if (vm_presence(vm.directory) != VM_PRESENCE_HOSTED)
                return vm_not_running(session, &vm);
        if (isatty(STDIN_FILENO))
                fprintf(stderr, "[berth: the console of %s; Ctrl-] leaves it]\n", vm.name);
        r = vm_attach(&vm, &number, &session->error);
        if (r < 0)
                return r;
        if (r == VM_ATTACH_SIGNALLED)
                return 128 + number;
        if (r == VM_ATTACH_ENDED)
                tell_end(&vm);
        else
                fprintf(stderr, "\n[berth: left %s, which goes on]\n", vm.name);
        return STATUS_OK;
}

const struct command command_vm_console = {
        .name = "vm console",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Attach to a VM's console",
        .help = "Shows the VM's serial console, the last part of what it printed first, and types into it\n"
                "what is typed here. Several may be attached at once. Ctrl-] leaves it; the VM goes on.\n"
                "It stays attached when the VM restarts, and ends when the VM does.",
        .failure = STATUS_FAILED,
        .run = run_vm_console,
};
