/* berth vm ssh: a shell in a VM, or a command. */
#include <errno.h>

#include "base/memory.h"
#include "cli/command.h"
#include "cli/execute.h"
#include "cli/vm-options.h"
#include "cli/vm-ssh.h"

static int run_vm_ssh(struct session *session, const struct arguments *arguments) {
        _cleanup_(words_deinit) struct words words = { 0 };
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        _cleanup_free_ char *program = NULL;
        uint64_t timeout = VM_SSH_TIMEOUT_S;
        uint16_t port;
        int r;

        r = vm_option_seconds(session, arguments, "timeout", &timeout);
        if (r == 0)
                r = vm_find(session, arguments->operands[0], &vm);
        if (r < 0)
                return r;
        /* Before a VM is waited for. */
        r = vm_ssh_find(&program, &session->error);
        if (r == 0)
                r = vm_ssh_wait(session, &vm, (unsigned)timeout, &port);
        if (r == 0)
                r = vm_ssh_command(&vm, port, arguments_value(arguments, "user"), &words, &session->error);
        if (r == 0 && words_insert(&words, words.n_words, (const char *const *)arguments->command,
                                   arguments->n_command) < 0)
                r = error_set(&session->error, -ENOMEM, "out of memory");
        if (r < 0)
                return r;
        execute(program, words.words, &session->error);
        return session->error.code;
}

static const struct option_spec options[] = {
        { "user", "NAME", "Log in as this user, not as the one of the configuration." },
        { "timeout", "SECONDS", "How long to wait for a VM that boots; 120 without it." },
};

const struct command command_vm_ssh = {
        .name = "vm ssh",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .trailing = TRAILING_OPTIONAL,
        .summary = "Log in to a VM, or run a command there",
        .help = "Waits until the VM can be logged in to, and becomes ssh. A command is passed on as ssh\n"
                "does, to be read by the shell of the VM; `berth vm exec` keeps words apart. The VM's\n"
                "host key is remembered in its own directory.",
        .options = options,
        .n_options = ARRAY_SIZE(options),
        .failure = STATUS_NOT_RUN,
        .run = run_vm_ssh,
};
