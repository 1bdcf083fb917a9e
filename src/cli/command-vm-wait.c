/* berth vm wait: until a VM has ended. */
#include <errno.h>
#include <stdio.h>

#include "base/memory.h"
#include "cli/command.h"
#include "cli/vm-channel.h"
#include "cli/vm-clock.h"
#include "cli/vm-options.h"
#include "cli/vm-pulse.h"
#include "cli/vm-request.h"
#include "cli/vm-state.h"
#include "cli/vm-stop.h"
#include "cli/vm-view.h"

/* 0 when it has ended, *ret_end a new reference or NULL; or -errno. */
static int wait_for_end(struct session *session, const struct vm *vm, uint64_t deadline, json_t **ret_end) {
        _cleanup_(vm_channel_freep) struct vm_channel *channel = NULL;
        json_auto_t *reply = NULL;
        int64_t since = 0;
        int left, r;

        if (vm_presence(vm->directory) == VM_PRESENCE_ORPHAN)
                return vm_not_running(session, vm);
        if (vm_presence(vm->directory) == VM_PRESENCE_NONE)
                return 0;
        /* One that is frozen would be waited for without a word. */
        left = vm_clock_left_ms(deadline);
        r = vm_check_answers(session, vm,
                             left < 0 || left > VM_REQUEST_TIMEOUT_MS ? VM_REQUEST_TIMEOUT_MS
                                                                      : (unsigned)left);
        if (r == -EHOSTDOWN && vm_presence(vm->directory) == VM_PRESENCE_NONE)
                return 0;
        if (r < 0)
                return r;
        r = vm_channel_watch(&channel, vm->directory, "wait");
        if (r == 0)
                r = vm_pulse_wait(channel, vm->directory, deadline, &reply, &since);
        if (r == -ETIMEDOUT)
                return error_set(&session->error, r, "VM %s has not ended within that time", vm->name);
        if (r == -EAGAIN)
                return vm_silent(&session->error, vm, since);
        if (r == -EPIPE && vm_presence(vm->directory) != VM_PRESENCE_ORPHAN)
                return 0;
        if (r < 0)
                return vm_watch_failed(session, vm, channel, r);
        *ret_end = json_incref(json_object_get(reply, "end"));
        /* It answers for the end of the VM before its own, and who waited may remove the VM or start it at once. The
         * next vmhost, if one is there by then, is waited for in vain, but not for long. */
        vm_wait_gone(vm, NULL);
        return 0;
}

static int run_vm_wait(struct session *session, const struct arguments *arguments) {
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        char line[VM_VIEW_LINE_SIZE];
        json_auto_t *end = NULL;
        uint64_t timeout = 0;
        int r;

        r = vm_option_seconds(session, arguments, "timeout", &timeout);
        if (r == 0)
                r = vm_find(session, arguments->operands[0], &vm);
        if (r == 0)
                r = wait_for_end(session, &vm, timeout ? vm_clock_in_ms(timeout * 1000) : UINT64_MAX, &end);
        if (r < 0)
                return r;
        if (!end)
                end = vm_last_end(&vm);
        if (!json_is_object(end))
                return error_set(&session->error, -ENOENT, "VM %s never ran", vm.name);
        if (arguments_has(arguments, "json"))
                r = view_print_json(end);
        else
                printf("%s: %s\n", vm.name, vm_view_end(end, line));
        return r < 0 ? error_set(&session->error, r, "out of memory") : vm_view_status(end);
}

static const struct option_spec options[] = {
        { "timeout", "SECONDS", "Give up after that; the VM goes on." },
        { "json", NULL, "The record of its end, for programs." },
};

const struct command command_vm_wait = {
        .name = "vm wait",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Wait until a VM has ended",
        .help = "Waits until a VM has ended for good and tells how; of one that does not run, how it\n"
                "ended last. The exit status is 0 where the guest or a stop ended it, else QEMU's own,\n"
                "or 128 and the number of the signal that ended it, or 1.",
        .options = options,
        .n_options = ARRAY_SIZE(options),
        .failure = STATUS_NOT_RUN,
        .run = run_vm_wait,
};
