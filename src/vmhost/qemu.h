/* QEMU: starts it for a VM, confined, and says why it ended where it did not start. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "vmhost/configuration.h"
#include "vmhost/session.h"

/* In the VM's directory. The sockets are QEMU's, and listen when qemu_spawn returns. */
#define QEMU_QMP_SOCKET "qmp.sock"
#define QEMU_CONSOLE_SOCKET "console-qemu.sock"
#define QEMU_AGENT_SOCKET "agent.sock"
#define QEMU_LOG "qemu.log" /* what QEMU says on its standard error, of this run */
#define QEMU_SEED "seed.img"

/* Whether QEMU is still wanted. */
typedef bool (*qemu_commit_fn)(void *data);

/*
 * Starts QEMU for a VM in its directory: makes the seed, the sockets and the arguments, forks, and returns
 * when the new program runs (or could not be executed). QEMU is a child in a session of its own, with its
 * standard error in QEMU_LOG, and is not killed by our end. A connection to QEMU_QMP_SOCKET made at once is
 * answered as soon as QEMU is up, or closed when it ends: there is nothing to poll for.
 *
 * `commit` (NULL: it is wanted) is asked when nothing but the execution itself is left to do, behind the
 * seconds that systemd may take for the limits; where it says no nothing is started, and that is -ECANCELED.
 *
 * Returns a pidfd, CLOEXEC, or -errno; *ret_pid is untouched on failure. `session` may be NULL.
 */
int qemu_spawn(const struct configuration *configuration, const struct session *session,
               const char *directory, const char *name, qemu_commit_fn commit, void *data, pid_t *ret_pid,
               struct error *error);

/* The last line of QEMU_LOG, which is the reason where QEMU ended by itself at its start; "" without one. Where it is known
 * what that means for the configuration, this comes first. */
void qemu_last_words(const char *directory, char *buffer, size_t size);

/* How QEMU is confined here: "no new privileges, seccomp, Landlock (version 7)", or what is missing. */
void qemu_describe_confinement(const struct configuration *configuration, char *buffer, size_t size);

/* "kvm" or "tcg": what the configuration comes to on this machine. NULL where "kvm" is demanded and is not
 * there; error then says why. */
const char *qemu_accelerator(const struct configuration *configuration, struct error *error);
