/* berth vm exec: a command in a VM, as it is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/command.h"
#include "cli/execute.h"
#include "cli/vm-agent-exec.h"
#include "cli/vm-options.h"
#include "cli/vm-ssh.h"

/* The words as one that the VM's shell parts into the same words: ssh joins with blanks what it is given. */
static char *quote_command(char *const *command, size_t n) {
        _cleanup_(words_deinit) struct words words = { 0 };
        char *text = NULL;
        size_t size = 0;
        FILE *out;

        if (words_insert(&words, 0, (const char *const *)command, n) < 0)
                return NULL;
        out = open_memstream(&text, &size);
        if (!out)
                return NULL;
        words_print(&words, out);
        if (fclose(out) != 0) {
                free(text);
                return NULL;
        }
        text[strlen(text) - 1] = '\0'; /* the newline */
        return text;
}

static int exec_by_ssh(struct session *session, const struct vm *vm, const struct arguments *arguments,
                       unsigned timeout_s) {
        static const char *const settings[] = { "-oBatchMode=yes", "-oServerAliveInterval=15" };
        _cleanup_free_ char *program = NULL,
                            *quoted = quote_command(arguments->command, arguments->n_command);
        _cleanup_(words_deinit) struct words words = { 0 };
        uint16_t port;
        int r;

        if (!quoted)
                return error_set(&session->error, -ENOMEM, "out of memory");
        r = vm_ssh_find(&program, &session->error);
        if (r == 0)
                r = vm_ssh_wait(session, vm, timeout_s, &port);
        if (r == 0)
                r = vm_ssh_command(vm, port, arguments_value(arguments, "user"), &words, &session->error);
        if (r < 0)
                return r;
        r = words_insert(&words, 1, settings, ARRAY_SIZE(settings));
        if (r == 0)
                r = words_insert(&words, words.n_words, &(const char *){ quoted }, 1);
        if (r == 0 && arguments_has(arguments, "tty"))
                r = words_insert(&words, 1, &(const char *){ "-t" }, 1);
        if (r < 0)
                return error_set(&session->error, r, "out of memory");
        execute(program, words.words, &session->error);
        return session->error.code;
}

static int exec_by_agent(struct session *session, const struct vm *vm, const struct arguments *arguments,
                         unsigned timeout_s) {
        const struct vm_agent_exec exec = { .words = arguments->command,
                                            .n_words = arguments->n_command,
                                            .input = arguments_has(arguments, "input"),
                                            .timeout_s = timeout_s };

        session->misused = true;
        if (arguments_has(arguments, "user"))
                return error_set(&session->error, -EINVAL,
                                 "--user is ssh's: the guest agent runs commands as root, and `runuser -u "
                                 "NAME --` there "
                                 "as another");
        if (arguments_has(arguments, "tty"))
                return error_set(&session->error, -EINVAL, "--tty is ssh's: the guest agent has no terminal");
        session->misused = false;
        return vm_agent_exec(session, vm, &exec);
}

static int run_vm_exec(struct session *session, const struct arguments *arguments) {
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        uint64_t timeout = VM_SSH_TIMEOUT_S;

        if (arguments_has(arguments, "input") && !arguments_has(arguments, "agent")) {
                session->misused = true;
                return error_set(&session->error, -EINVAL,
                                 "--input is for --agent; ssh passes standard input on by itself");
        }
        int r = vm_option_seconds(session, arguments, "timeout", &timeout);
        if (r == 0)
                r = vm_find(session, arguments->operands[0], &vm);
        if (r < 0)
                return r;
        return arguments_has(arguments, "agent") ? exec_by_agent(session, &vm, arguments, (unsigned)timeout)
                                                 : exec_by_ssh(session, &vm, arguments, (unsigned)timeout);
}

static const struct option_spec options[] = {
        { "user", "NAME", "As this user, not as the one of the configuration." },
        { "tty", NULL, "With a terminal, for programs that want one." },
        { "agent", NULL,
          "By the guest agent, as root, without network, keys or sshd\n"
          "in the VM; what it prints comes when it has ended." },
        { "input", NULL, "With --agent: pass standard input on, to its end." },
        { "timeout", "SECONDS", "How long to wait for a VM that boots; 120 without it." },
};

const struct command command_vm_exec = {
        .name = "vm exec",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .trailing = TRAILING_COMMAND,
        .summary = "Run a command in a VM, for scripts",
        .help = "Runs a command by ssh, or by QEMU's guest agent, and ends as it does. Its words arrive as\n"
                "they are, whatever is in them; nothing is ever asked. 255 is ssh's own failure.",
        .options = options,
        .n_options = ARRAY_SIZE(options),
        .failure = STATUS_NOT_RUN,
        .run = run_vm_exec,
};
