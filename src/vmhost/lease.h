/* Lease: a network that the VM has, and its interface there. */
#pragma once

#include <berth/berth.h>
#include <jansson.h>
#include <stdint.h>

#include "base/error.h"
#include "loop/loop.h"
#include "vmhost/configuration.h"

struct session_interface;

/*
 * The lease is the handle, which QEMU inherits with the interface's taps.
 *
 *      new → acquire → handed_over → …         one of ours
 *      new → adopt → …                         that a QEMU holds which runs: the handle alone, if it can be
 * had … → renew → handed_over → …             for a further run, over the same handle
 */
struct lease;

/* NULL when memory is short. */
struct lease *lease_new(void);
struct lease *lease_free(struct lease *lease);

/* Acquires the network from the broker, and starts an interface under the VM's name. 0 or -errno. */
int lease_acquire(struct lease *lease, struct berth *berth, const struct configuration_network *wanted,
                  const char *name, struct error *error);
/* `facts` is what lease_facts gave, and the pidfd is of the process that has the handle: -EPROTO where the
 * facts make no sense. A handle that cannot be had is no error. */
int lease_adopt(struct lease *lease, json_t *facts, int pidfd, struct error *error);
/* Starts the interface anew. -ENOTCONN: there is no handle, or another network is wanted. */
int lease_renew(struct lease *lease, const struct configuration_network *wanted, const char *name,
                struct error *error);

/* A port of the host leads to the VM: the socket is borrowed. 0 or -errno. */
int lease_forward(struct lease *lease, int socket, uint16_t port, struct error *error);

/* As session.h has it; another after each of the first three above. */
const struct session_interface *lease_interface(const struct lease *lease);
/* The handle, borrowed, or why there is none, as -errno. */
int lease_handle(const struct lease *lease);
/* The handle and the taps, borrowed, into an array with room for 1 + CONFIGURATION_QUEUES_MAX: how many. */
size_t lease_fds(const struct lease *lease, int *ret);
/* Closes our copies of the taps. */
void lease_handed_over(struct lease *lease);
/* An object of session_describe's `networks`, borrowed. */
json_t *lease_facts(const struct lease *lease);

/* Logs the end of the lease. 0 or -errno. */
int lease_watch(struct lease *lease, struct loop *loop);
void lease_unwatch(struct lease *lease);
