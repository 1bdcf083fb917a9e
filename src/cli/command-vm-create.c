/* berth vm create: makes a VM, and starts nothing. */
#include <errno.h>
#include <stdio.h>

#include "base/memory.h"
#include "cli/command.h"
#include "cli/vm-configuration.h"
#include "cli/vm-creation.h"
#include "cli/vm-view.h"

static int print_json(struct session *session, const struct vm *vm, const json_t *file) {
        json_auto_t *made = json_pack("{s:s, s:s, s:O}", "name", vm->name, "directory", vm->directory,
                                      "configuration", file);

        if (!made || view_print_json(made) < 0)
                return error_set(&session->error, -ENOMEM, "out of memory");
        return STATUS_OK;
}

static int run_vm_create(struct session *session, const struct arguments *arguments) {
        _cleanup_(vm_configuration_deinit) struct vm_configuration configuration = { 0 };
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        int r;

        r = vm_plan(session, arguments->operands[0], &vm);
        if (r == 0)
                r = vm_configuration_read(&configuration, session, arguments);
        if (r == 0) {
                r = vm_create(&vm, &configuration, &session->error);
                session->misused = r == -EBADMSG;
        }
        if (r < 0)
                return r;
        if (arguments_has(arguments, "json"))
                return print_json(session, &vm, configuration.file);
        /* A disk image of a distribution lets nobody in by a password. */
        if (configuration.image.path && !json_object_get(configuration.file, "ssh_keys") &&
            !json_object_get(configuration.file, "user_data"))
                fprintf(stderr,
                        "berth: without --ssh-key nobody can log in, unless the image has a password\n");
        printf("Created %s. `berth vm start %s` starts it.\n", vm.directory, vm.name);
        return STATUS_OK;
}

static const struct option_spec options[] = {
        { "json", NULL, "What was made, for programs." },
};

const struct command command_vm_create = {
        .name = "vm create",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Make a VM",
        .help = "Makes a VM with a disk of its own and a configuration file, which may be edited: see\n"
                "berth-vm(5). Either all is there afterwards or nothing.\n"
                "\n"
                "  berth vm create web --image debian.qcow2 --ssh-key ~/.ssh/id_ed25519.pub\n"
                "  berth vm start web\n"
                "  berth vm ssh web",
        .options = options,
        .n_options = ARRAY_SIZE(options),
        .shared_options = vm_configuration_options,
        .n_shared_options = VM_CONFIGURATION_N_OPTIONS,
        .failure = STATUS_FAILED,
        .run = run_vm_create,
};
