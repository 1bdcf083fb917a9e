/* berth vm rm: removes a VM with all that it has. */
#include <errno.h>
#include <stdio.h>

#include "base/memory.h"
#include "cli/command.h"
#include "cli/vm-creation.h"
#include "cli/vm-state.h"
#include "cli/vm-stop.h"
#include "cli/vm-view.h"

static int run_vm_rm(struct session *session, const struct arguments *arguments) {
        const struct vm_stop_order order = { .force = true };
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        json_auto_t *end = NULL, *result = NULL;
        int r;

        r = vm_find_entry(session, arguments->operands[0], &vm);
        if (r == 0 && arguments_has(arguments, "force")) {
                r = vm_stop(session, &vm, &order, &end);
                /* One that ends its VM by itself in this moment, or prepares to start it again. */
                if (r >= 0)
                        r = vm_wait_gone(&vm, &session->error);
        }
        if (r < 0)
                return r;
        r = vm_remove(&vm, &session->error);
        if (r == -EALREADY)
                return error_set(&session->error, r,
                                 "VM %s is running\n"
                                 "`berth vm stop %s` shuts it down, --force does not ask it",
                                 vm.name, vm.name);
        if (r < 0)
                return r;
        if (!arguments_has(arguments, "json")) {
                printf("Removed %s.\n", vm.name);
                return STATUS_OK;
        }
        result = json_pack("{s:s, s:O?}", "removed", vm.name, "end", end);
        if (!result || view_print_json(result) < 0)
                return error_set(&session->error, -ENOMEM, "out of memory");
        return STATUS_OK;
}

static const struct option_spec options[] = {
        { "force", NULL, "Also one that is running: end it at once." },
        { "json", NULL, "What was removed, for programs." },
};

const struct command command_vm_rm = {
        .name = "vm rm",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Remove a VM, with its disk",
        .help = "Removes a VM's directory: its disk, its configuration, its logs. The image that its disk\n"
                "is a layer over stays.",
        .options = options,
        .n_options = ARRAY_SIZE(options),
        .failure = STATUS_FAILED,
        .run = run_vm_rm,
};
