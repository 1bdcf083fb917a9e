/* VM directories: where VMs are on disk, and which one a name means. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli/session.h"

/* What stands in a VM's directory, by the names that vmhost(8) gives it. */
#define VM_AGENT_SOCKET "agent.sock"
#define VM_CONFIGURATION "config.json"
#define VM_CONSOLE_LOG "console.log"
#define VM_CONSOLE_LOG_OLD "console.log.1"
#define VM_CONSOLE_SOCKET "console.sock"
#define VM_CONTROL_SOCKET "vmhost.sock"
#define VM_DISK "disk.qcow2"
#define VM_LOCK "vmhost.lock"
#define VM_LOG "vmhost.log"
#define VM_PID "vmhost.pid"
#define VM_STATE "state.json"
/* Of this program alone: for `berth vm ssh`. */
#define VM_KNOWN_HOSTS "known_hosts"
#define VM_IDENTITIES "identities"

struct vm {
        char *config; /* the configuration folder, which holds vms/ */
        char *name;
        char *directory; /* config/vms/name */
};

/* The configuration folder: BERTH_CONFIG_DIR, or the place of this mode's state. 0 or -errno. */
int vm_config_directory(struct session *session, char **ret);

/* The VM of that name. Without one: -ENOENT, with a text that tells what to do, or another -errno. */
int vm_find(struct session *session, const char *name, struct vm *ret);
/* The same, and whatever has its name: a link that leads nowhere, or a file. */
int vm_find_entry(struct session *session, const char *name, struct vm *ret);
/* Whether what is there is a directory: 0, or -ENOENT for a link that leads nowhere, -ENOTDIR or another
 * -errno, with a text that tells what to do. */
int vm_check_directory(const struct vm *vm, struct error *error);
/* The same as vm_find for a VM that need not be there yet; its name is checked as a new one's. */
int vm_plan(struct session *session, const char *name, struct vm *ret);
void vm_deinit(struct vm *vm);

/* DIRECTORY/FILE: a new string or NULL. */
char *vm_path(const struct vm *vm, const char *file);

/* Names of all VMs in a configuration folder, sorted: an array of new strings, NULL at its end; none where
 * there is no folder. 0 or -errno. */
int vm_names(const char *config, char ***ret, size_t *ret_n, struct error *error);
void vm_names_free(char **names);
void vm_names_freep(char ***names);
