/* Agent exec: a command in a VM by its guest agent, from its start to its exit status. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cli/session.h"
#include "cli/vm-directory.h"

struct vm_agent_exec {
        char *const *words; /* the program first, found in the agent's own PATH */
        size_t n_words;
        bool input; /* our standard input goes to it, up to its end and to VM_AGENT_INPUT_MAX */
        unsigned timeout_s; /* how long to wait for an agent that is not there yet */
};

#define VM_AGENT_INPUT_MAX (4 * 1024 * 1024) /* bytes */

/*
 * Runs it as the agent's user, root, and writes what it printed to our standard output and error when it has
 * ended, for the agent keeps it until then, and no more than 16 MiB of each. Its exit status, 128 and a
 * signal's number, or -errno with a text.
 */
int vm_agent_exec(struct session *session, const struct vm *vm, const struct vm_agent_exec *exec);
