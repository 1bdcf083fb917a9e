/* Session: a VM's networks, from the broker to the file descriptors that QEMU inherits. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "loop/loop.h"
#include "vmhost/configuration.h"

/*
 * QEMU inherits the broker connection, the handles and the taps, and so keeps lease, interfaces and forwards
 * for as long as it lives, whoever supervises it. The session's own copies are for asking; freeing it harms
 * no running QEMU, and where there is none it gives everything back.
 *
 *      open → forward_all → qemu_spawn → handed_over → …       the first run of QEMU
 *      adopt → …                                               a QEMU found running
 *      … → renew → qemu_spawn → handed_over → …                a further run: leases and forwards have stayed
 */
struct session;

/* An interface of the VM; strings and file descriptors are borrowed from the session. */
struct session_interface {
        const char *network;
        const char *mac;
        const char *address; /* NULL: none */
        const char *ipv6_address; /* NULL: none */
        unsigned mtu, queues;
        int taps[CONFIGURATION_QUEUES_MAX]; /* -1 once they are handed over */
};

/*
 * Acquires all networks, starting the broker where none runs, and starts an interface on each under the VM's
 * name, which must be a DNS label where there are networks. Without networks in the configuration it talks to
 * nobody. Waits for answers, at most 30 s each. 0 or -errno.
 */
int session_open(struct session **ret, const struct configuration *configuration, const char *name,
                 struct error *error);
/*
 * For a QEMU that an earlier vmhost started: `facts` is what session_describe gave then. The handles are
 * taken from the process by pidfd_getfd(2); where the system does not allow that, the session still describes
 * itself.
 */
int session_adopt(struct session **ret, const json_t *facts, int pidfd, struct error *error);
struct session *session_free(struct session *session);
void session_freep(struct session **session);

/*
 * After QEMU ended, for a further run: starts the interfaces anew on the leases that the session still holds.
 * Forwards and the ssh port stay as they are. -ENOTCONN or -ECONNRESET: it holds none any more; free it, and
 * open another.
 */
int session_renew(struct session *session, const struct configuration *configuration, const char *name,
                  struct error *error);

/*
 * Adds the configured forwards and the one for ssh, on the first network. `preferred_ssh_port` is tried first
 * where the configuration leaves the port open; 0: none. A port in use is -EADDRINUSE, a privileged one
 * -EACCES, each with a text that names it; after a failure some may be there: free the session.
 */
int session_forward_all(struct session *session, const struct configuration *configuration,
                        uint16_t preferred_ssh_port, struct error *error);
/* The host's port that leads to the VM's ssh: 0 without one. */
uint16_t session_ssh_port(const struct session *session);

size_t session_n_interfaces(const struct session *session);
const struct session_interface *session_get_interface(const struct session *session, size_t i);
/* All file descriptors that QEMU must inherit, borrowed: an array of their number, to be freed. */
int session_fds(const struct session *session, int **ret_fds, size_t *ret_n);
/* After qemu_spawn: closes our copies of the taps, so that the interfaces go when QEMU goes. */
void session_handed_over(struct session *session);

/*
 * An object for state.json and `show`, a new reference, with "ssh_port", "broker_fd", "networks" (of each
 * "network", "port", "mac", "address", "ipv6_address", "mtu", "queues", "gateway", "domain", "handle_fd") and
 * "forwards" (of each "protocol", "listen_address", "listen_port", "port"). The numbers of the file
 * descriptors are QEMU's. NULL when memory is short.
 */
json_t *session_describe(const struct session *session);

/* Notices in the loop, and logs, the end of the broker (which harms nothing that runs) and of a network. The
 * loop must outlive the session. */
int session_watch(struct session *session, struct loop *loop);
/* Ends that. A session that is watched is the loop's thread's alone: before another thread renews or frees
 * it. */
void session_unwatch(struct session *session);
