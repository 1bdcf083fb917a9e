/* Channels: one request on a VM's control socket and the lines that come back. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"

/*
 * The protocol of vmhost(8): a connection takes one request, answers a line of JSON (`events` many) and
 * closes. Nothing here blocks but vm_channel_wait, which has a deadline: a vmhost that is stopped, hung or
 * hostile costs its caller no more than that.
 */
struct vm_channel;

#define VM_CHANNEL_REPLY_MAX (1024 * 1024) /* bytes of a line that are taken */

/*
 * Connects to the control socket in a VM's directory and sends the request. 0, -ENOENT (no socket),
 * -ECONNREFUSED (one that a dead vmhost left), -EAGAIN (a vmhost that does not accept), or another -errno.
 */
int vm_channel_open(struct vm_channel **ret, const char *directory, json_t *request);
/* The same for a method whose answer takes its time, `wait` or `events`: vmhost refuses it where too many
 * wait already, and that is no answer. */
int vm_channel_watch(struct vm_channel **ret, const char *directory, const char *method);
struct vm_channel *vm_channel_free(struct vm_channel *channel);
void vm_channel_freep(struct vm_channel **channel);
int vm_channel_fd(const struct vm_channel *channel);

/* The next line that is there: 1 and a new reference to an object; 0 when there is none yet; -EPIPE at the
 * end; -EPROTO for what is no JSON object, and at the end where a line is too long; -EREMOTEIO where the
 * request of vm_channel_watch was refused, for the reason that vm_channel_refusal tells; another -errno. */
int vm_channel_next(struct vm_channel *channel, json_t **ret);
/* Borrowed; "" where nothing was refused. */
const char *vm_channel_refusal(const struct vm_channel *channel);
/* vm_channel_next, waiting until a time of CLOCK_MONOTONIC in microseconds (UINT64_MAX: for ever): 1,
 * -ETIMEDOUT or as above. */
int vm_channel_wait(struct vm_channel *channel, uint64_t deadline, json_t **ret);

/* A whole exchange: 1 as vm_channel_wait or the failures of either. */
int vm_channel_ask(const char *directory, json_t *request, unsigned timeout_ms, json_t **ret);

/* A non-blocking connection to a Unix socket in a directory, whatever the length of its path. The fd,
 * CLOEXEC, or -errno as vm_channel_open. */
int vm_connect(const char *directory, const char *socket_name);
