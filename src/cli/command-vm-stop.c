/* berth vm stop, berth vm kill: end a VM, with time for it or without. */
#include <errno.h>
#include <stdio.h>

#include "base/memory.h"
#include "cli/command.h"
#include "cli/vm-options.h"
#include "cli/vm-stop.h"
#include "cli/vm-view.h"

static int print_json(struct session *session, const struct vm *vm, bool was_running, json_t *end) {
        json_auto_t *result = json_pack("{s:s, s:b, s:O?}", "name", vm->name, "was_running", was_running,
                                        "end", end);

        if (!result || view_print_json(result) < 0)
                return error_set(&session->error, -ENOMEM, "out of memory");
        return STATUS_OK;
}

static int stop_one(struct session *session, const struct arguments *arguments, const char *name,
                    const struct vm_stop_order *order) {
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        char line[VM_VIEW_LINE_SIZE];
        json_auto_t *end = NULL;
        int r;

        r = vm_find(session, name, &vm);
        if (r == 0)
                r = vm_stop(session, &vm, order, &end);
        if (r < 0)
                return r;
        if (arguments_has(arguments, "json"))
                return print_json(session, &vm, r > 0, end);
        if (r == 0)
                printf("%s is not running.\n", vm.name);
        else if (order->no_wait)
                printf("%s is being stopped.\n", vm.name);
        else
                printf("%s: %s\n", vm.name, end ? vm_view_end(end, line) : "ended");
        return STATUS_OK;
}

static int run_vm_stop(struct session *session, const struct arguments *arguments) {
        struct vm_stop_order order = { .no_wait = arguments_has(arguments, "no-wait") };
        uint64_t timeout = 0;
        int r;

        r = vm_option_seconds(session, arguments, "timeout", &timeout);
        if (r < 0)
                return r;
        order.timeout_s = (unsigned)timeout;
        return stop_one(session, arguments, arguments->operands[0], &order);
}

static int run_vm_kill(struct session *session, const struct arguments *arguments) {
        const struct vm_stop_order order = { .force = true };

        return stop_one(session, arguments, arguments->operands[0], &order);
}

static const struct option_spec stop_options[] = {
        { "timeout", "SECONDS",
          "How long it may take until it is ended by force, in place of\nthe VM's own time." },
        { "no-wait", NULL, "Do not wait for its end." },
        { "json", NULL, "How it ended, for programs." },
};

const struct command command_vm_stop = {
        .name = "vm stop",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Shut a VM down",
        .help = "Shuts a VM down in stages within one time: its guest agent is asked, its power button\n"
                "pressed, and in the end QEMU told and then forced to go. A stopped VM is not started\n"
                "again by its restart policy. Stopping one that does not run is no failure.",
        .options = stop_options,
        .n_options = ARRAY_SIZE(stop_options),
        .failure = STATUS_FAILED,
        .run = run_vm_stop,
};

static const struct option_spec kill_options[] = {
        { "json", NULL, "How it ended, for programs." },
};

const struct command command_vm_kill = {
        .name = "vm kill",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "End a VM at once",
        .help = "Ends a VM as if its plug were pulled, also in the midst of a stop that takes too long.",
        .options = kill_options,
        .n_options = ARRAY_SIZE(kill_options),
        .failure = STATUS_FAILED,
        .run = run_vm_kill,
};
