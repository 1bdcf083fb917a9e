/* berth vm cont: let a VM go on that is paused. */
#include <stdio.h>

#include "base/memory.h"
#include "cli/command.h"
#include "cli/vm-request.h"

static int run_vm_cont(struct session *session, const struct arguments *arguments) {
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        json_auto_t *reply = NULL;
        int r;

        r = vm_find(session, arguments->operands[0], &vm);
        if (r == 0)
                r = vm_request(session, &vm, "cont", NULL, &reply);
        if (r < 0)
                return r;
        printf("%s goes on.\n", vm.name);
        return STATUS_OK;
}

const struct command command_vm_cont = {
        .name = "vm cont",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Let a paused VM go on",
        .help = "Lets a VM go on that is paused or in io-error, once that is seen to which paused it;\n"
                "what could not be written then is written now. Where it fails again the VM is\n"
                "paused again, and `berth vm ls` says why.",
        .failure = STATUS_FAILED,
        .run = run_vm_cont,
};
