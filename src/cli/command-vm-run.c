/* berth vm run: a VM for one task. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/signals.h"
#include "cli/vm-attach.h"
#include "cli/vm-configuration.h"
#include "cli/vm-creation.h"
#include "cli/vm-log.h"
#include "cli/vm-start.h"
#include "cli/vm-state.h"
#include "cli/vm-stop.h"
#include "cli/vm-view.h"

/* The signals that end a run, as a file descriptor. */
static int watch_signals(struct error *error) {
        static const int wanted[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
        sigset_t before;

        /* Where nobody reads what is printed, the VM is not to be left behind. */
        signal(SIGPIPE, SIG_IGN);
        return signals_watch(wanted, ARRAY_SIZE(wanted), &before, error);
}

/* Prints the console without a terminal: 0 when the VM has ended, the signal that asks us to end, SIGPIPE
 * where nobody reads any more, or -errno. */
static int print_console(const struct vm *vm, int signals, struct error *error) {
        _cleanup_(vm_log_close) struct vm_log log = VM_LOG_INIT;
        int r;

        r = vm_log_open(&log, vm, error);
        /* To give up would be to end a VM that may be well: its vmhost may wait for a busy disk. */
        log.patient = true;
        if (r == 0)
                r = vm_log_follow(&log, signals, error);
        if (r == 1)
                return signals_take(signals);
        return r == -EPIPE ? SIGPIPE : r;
}

/* The same on one. Ctrl-] ends the run too. */
static int attach_console(const struct vm *vm, struct error *error) {
        int number = 0, r;

        fprintf(stderr, "[berth: the console of %s; Ctrl-] ends it]\n", vm->name);
        r = vm_attach(vm, &number, error);
        if (r == VM_ATTACH_DETACHED)
                return SIGINT;
        return r == VM_ATTACH_SIGNALLED ? number : r < 0 ? r : 0;
}

/* Until the VM has ended, or a signal asks us to end: that, or 0, or -errno. */
static int start_and_show(struct session *session, const struct vm *vm, int signals) {
        const struct vm_start_order order = {
                .goal = VM_GOAL_STARTED,
                .timeout_s = VM_START_TIMEOUT_S,
                .stop_fd = signals,
        };
        json_auto_t *steps = NULL;
        int r;

        r = vm_start(session, vm, &order, &steps);
        if (r == -EINTR)
                return signals_take(signals);
        if (r < 0) {
                json_auto_t *end = vm_last_end(vm);

                /* A guest that was through before it was looked at is no failure of the start. */
                if (!json_is_object(end) || vm_view_status(end) != 0)
                        return r;
                return print_console(vm, signals, &session->error);
        }
        return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? attach_console(vm, &session->error)
                                                             : print_console(vm, signals, &session->error);
}

/* From its start to its end. The exit status, or -errno; *ret_end is the record, or NULL. */
static int run_to_end(struct session *session, const struct vm *vm, int signals, json_t **ret_end) {
        /* It is thrown away: there is nothing for a shutdown to save. */
        const struct vm_stop_order stop = { .force = true, .quiet = true };
        int number = start_and_show(session, vm, signals), r;

        if (number < 0) {
                *ret_end = vm_last_end(vm);
                return number;
        }
        if (number > 0) {
                r = vm_stop(session, vm, &stop, ret_end);
                return r < 0 ? r : 128 + number;
        }
        r = vm_wait_gone(vm, &session->error);
        *ret_end = vm_last_end(vm);
        if (r < 0)
                return r;
        return json_is_object(*ret_end)
                       ? vm_view_status(*ret_end)
                       : error_set(&session->error, -EIO, "VM %s ended; how is not known", vm->name);
}

/* Takes the VM away, whatever became of it. */
static void clean_up(const struct session *session, const struct vm *vm) {
        struct session other = { .system = session->system };
        const struct vm_stop_order kill_order = { .force = true, .quiet = true };
        json_auto_t *end = NULL;
        int r;

        r = vm_stop(&other, vm, &kill_order, &end);
        if (r >= 0)
                r = vm_wait_gone(vm, &other.error);
        if (r >= 0)
                r = vm_remove(vm, &other.error);
        if (r < 0)
                fprintf(stderr, "berth: %s is left behind: %s\n", vm->name, error_text(&other.error, r));
        session_deinit(&other);
}

/* A name that no other VM is likely to have. */
static char *make_name(void) {
        uint32_t number = 0;

        if (getrandom(&number, sizeof(number), 0) < 0)
                number = (uint32_t)getpid();
        return text_format("run-%08x", number);
}

static int prepare(struct session *session, const struct arguments *arguments, struct vm *ret_vm) {
        _cleanup_(vm_configuration_deinit) struct vm_configuration configuration = { 0 };
        _cleanup_free_ char *made = make_name();
        int r;

        if (!made)
                return error_set(&session->error, -ENOMEM, "out of memory");
        r = vm_plan(session, arguments->n_operands > 0 ? arguments->operands[0] : made, ret_vm);
        if (r == 0)
                r = vm_configuration_read(&configuration, session, arguments);
        if (r == 0) {
                r = vm_create(ret_vm, &configuration, &session->error);
                session->misused = r == -EBADMSG;
        }
        return r;
}

static int run_vm_run(struct session *session, const struct arguments *arguments) {
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        _cleanup_fd_ int signals = -1;
        char line[VM_VIEW_LINE_SIZE];
        json_auto_t *end = NULL;
        int r, number;

        /* From before there is anything to be left behind. */
        signals = watch_signals(&session->error);
        if (signals < 0)
                return signals;
        r = prepare(session, arguments, &vm);
        number = signals_take(signals);
        if (r < 0)
                return number > 0 ? 128 + number : r;
        r = number > 0 ? 128 + number : run_to_end(session, &vm, signals, &end);
        if (arguments_has(arguments, "keep"))
                fprintf(stderr, "berth: kept as %s\n", vm.name);
        else
                clean_up(session, &vm);
        if (json_is_object(end))
                fprintf(stderr, "berth: %s: %s\n", vm.name, vm_view_end(end, line));
        return r;
}

static const struct option_spec options[] = {
        { "keep", NULL, "Do not remove the VM at the end." },
};

const struct command command_vm_run = {
        .name = "vm run",
        .operands = "[NAME]",
        .max_operands = 1,
        .summary = "Make a VM, run it to its end, and remove it",
        .help = "For tests and tasks: makes a VM as `berth vm create` does, starts it, prints its console,\n"
                "and removes it when it has ended, or when this command is interrupted. On a terminal\n"
                "the console takes input too. The exit status is 0 where the guest shut itself down,\n"
                "else QEMU's own, 128 and the number of a signal, or 1. Where nobody reads the console any\n"
                "more, as behind a pipe to \"grep -q\", the run ends with 141.\n"
                "\n"
                "  berth vm run --kernel vmlinuz --initrd test.gz --command-line console=ttyS0",
        .options = options,
        .n_options = ARRAY_SIZE(options),
        .shared_options = vm_configuration_options,
        .n_shared_options = VM_CONFIGURATION_N_OPTIONS,
        .failure = STATUS_NOT_RUN,
        .run = run_vm_run,
};
