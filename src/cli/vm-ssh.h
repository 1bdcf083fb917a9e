/* Ssh: reaching a VM by it. */
#pragma once

#include <stdint.h>

#include "cli/session.h"
#include "cli/vm-directory.h"
#include "cli/words.h"

/* How long a VM that boots is waited for. */
#define VM_SSH_TIMEOUT_S 120

/* The program ssh: a new string. 0 or -ENOENT, with a text that says what to install. */
int vm_ssh_find(char **ret, struct error *error);

/*
 * Waits until an ssh server answers through the VM's port, at most `timeout_s`; a VM that ends meanwhile ends
 * the wait. 0 and the port, or -errno with a text.
 */
int vm_ssh_wait(struct session *session, const struct vm *vm, unsigned timeout_s, uint16_t *ret_port);

/*
 * The command line of ssh for a VM: its port and keys, and its host key, which is kept in the VM's directory
 * and trusted when it is first seen, for the VM was made by us. The words of a command may follow, whatever
 * they begin with. `user` NULL: the one of its configuration.
 * 0 or -errno.
 */
int vm_ssh_command(const struct vm *vm, uint16_t port, const char *user, struct words *ret,
                   struct error *error);
