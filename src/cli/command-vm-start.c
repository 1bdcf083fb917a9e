/* berth vm start, berth vm restart: bring a VM up. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/command.h"
#include "cli/vm-options.h"
#include "cli/vm-start.h"
#include "cli/vm-stop.h"
#include "cli/vm-view.h"

/* Whoever watches wants to log in; a script says what it waits for. */
static enum vm_goal default_goal(const struct vm *vm) {
        _cleanup_free_ char *path = vm_path(vm, VM_IDENTITIES);

        return isatty(STDOUT_FILENO) && path && access(path, F_OK) == 0 ? VM_GOAL_SSH : VM_GOAL_STARTED;
}

static int read_order(struct session *session, const struct arguments *arguments, const struct vm *vm,
                      struct vm_start_order *ret) {
        const char *goal = arguments_value(arguments, "wait");
        uint64_t timeout = VM_START_TIMEOUT_S;
        int r;

        *ret = (struct vm_start_order){
                .goal = default_goal(vm),
                .or_started = !goal,
                .stop_fd = -1,
                .shown = isatty(STDOUT_FILENO) && !arguments_has(arguments, "json"),
        };
        if (goal && vm_goal_parse(goal, &ret->goal) < 0)
                return session_misused(session, "--wait %s: not one of started, address, ssh, running", goal);
        r = vm_option_seconds(session, arguments, "timeout", &timeout);
        ret->timeout_s = (unsigned)timeout;
        return r;
}

static int start(struct session *session, const struct arguments *arguments, const struct vm *vm,
                 const struct vm_start_order *order) {
        json_auto_t *steps = NULL, *result = NULL;
        int r;

        r = vm_start(session, vm, order, &steps);
        if (r < 0)
                return r;
        if (arguments_has(arguments, "json")) {
                result = json_pack("{s:s, s:b, s:O}", "name", vm->name, "was_running", r == 0, "steps_ms",
                                   steps);
                if (!result || view_print_json(result) < 0)
                        return error_set(&session->error, -ENOMEM, "out of memory");
        } else if (r == 0) {
                fprintf(stderr, "berth: %s is running already\n", vm->name);
        } else if (order->shown) {
                fprintf(stderr, "%s is up. `berth vm %s %s` is the way in.\n", vm->name,
                        json_object_get(steps, "ssh") ? "ssh" : "console", vm->name);
        }
        return STATUS_OK;
}

static int run_vm_start(struct session *session, const struct arguments *arguments) {
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        struct vm_start_order order;
        int r;

        r = vm_find(session, arguments->operands[0], &vm);
        if (r == 0)
                r = read_order(session, arguments, &vm, &order);
        return r < 0 ? r : start(session, arguments, &vm, &order);
}

static int run_vm_restart(struct session *session, const struct arguments *arguments) {
        const struct vm_stop_order stop = { .force = arguments_has(arguments, "force") };
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        struct vm_start_order order;
        json_auto_t *end = NULL;
        int r;

        r = vm_find(session, arguments->operands[0], &vm);
        if (r == 0)
                r = read_order(session, arguments, &vm, &order);
        if (r == 0)
                r = vm_stop(session, &vm, &stop, &end);
        return r < 0 ? r : start(session, arguments, &vm, &order);
}

#define START_OPTIONS                                                                                        \
        { "wait", "GOAL",                                                                                    \
          "Until it is that far: started (QEMU runs), address (the guest\nhas its address), ssh (it can be " \
          "logged "                                                                                          \
          "in to), running (it has\nbooted)." },                                                             \
                { "timeout", "SECONDS", "How long to wait for that; 180 without it." }, {                    \
                "json", NULL, "The times of the steps, for programs."                                        \
        }

static const struct option_spec start_options[] = { START_OPTIONS };

const struct command command_vm_start = {
        .name = "vm start",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Start a VM",
        .help = "Starts a VM under a vmhost(8) of its own, or gives one to a VM whose vmhost was killed.\n"
                "On a terminal it tells of each step and, where a key of yours lets you in through a port\n"
                "for ssh, waits until ssh answers; otherwise it is quiet and returns when QEMU runs. One\n"
                "that is being stopped is started after that.",
        .options = start_options,
        .n_options = ARRAY_SIZE(start_options),
        .failure = STATUS_FAILED,
        .run = run_vm_start,
};

static const struct option_spec restart_options[] = {
        { "force", NULL, "Do not ask the guest to shut down." },
        START_OPTIONS,
};

const struct command command_vm_restart = {
        .name = "vm restart",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Stop a VM and start it again",
        .help = "Stops a VM as `berth vm stop` does and starts it, as its configuration now is.",
        .options = restart_options,
        .n_options = ARRAY_SIZE(restart_options),
        .failure = STATUS_FAILED,
        .run = run_vm_restart,
};
