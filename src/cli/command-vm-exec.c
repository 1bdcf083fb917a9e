/* berth vm exec: a command in a VM, as it is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/command.h"
#include "cli/execute.h"
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

static int run_vm_exec(struct session *session, const struct arguments *arguments) {
        static const char *const settings[] = { "-oBatchMode=yes", "-oServerAliveInterval=15" };
        _cleanup_free_ char *program = NULL,
                            *quoted = quote_command(arguments->command, arguments->n_command);
        _cleanup_(words_deinit) struct words words = { 0 };
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        uint64_t timeout = VM_SSH_TIMEOUT_S;
        uint16_t port;
        int r;

        if (!quoted)
                return error_set(&session->error, -ENOMEM, "out of memory");
        r = vm_option_seconds(session, arguments, "timeout", &timeout);
        if (r == 0)
                r = vm_find(session, arguments->operands[0], &vm);
        if (r < 0)
                return r;
        r = execute_find("ssh", &program, &session->error);
        if (r != STATUS_OK)
                return execute_complain(r, &session->error);
        r = vm_ssh_wait(session, &vm, (unsigned)timeout, &port);
        if (r == 0)
                r = vm_ssh_command(&vm, port, arguments_value(arguments, "user"), &words, &session->error);
        if (r < 0)
                return r;
        r = words_insert(&words, 1, settings, ARRAY_SIZE(settings));
        if (r == 0)
                r = words_insert(&words, words.n_words, &(const char *){ quoted }, 1);
        if (r == 0 && arguments_has(arguments, "tty"))
                r = words_insert(&words, 1, &(const char *){ "-t" }, 1);
        if (r < 0)
                return error_set(&session->error, r, "out of memory");
        return execute_complain(execute(program, words.words, &session->error), &session->error);
}

static const struct option_spec options[] = {
        { "user", "NAME", "As this user, not as the one of the configuration." },
        { "tty", NULL, "With a terminal, for programs that want one." },
        { "timeout", "SECONDS", "How long to wait for a VM that boots; 120 without it." },
};

const struct command command_vm_exec = {
        .name = "vm exec",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .trailing = TRAILING_COMMAND,
        .summary = "Run a command in a VM, for scripts",
        .help = "Runs a command by ssh and ends as it does. Its words arrive as they are, whatever is\n"
                "in them; nothing is ever asked. 255 is ssh's own failure.",
        .options = options,
        .n_options = ARRAY_SIZE(options),
        .failure = STATUS_NOT_RUN,
        .run = run_vm_exec,
};
