/* Agent: commands to QEMU's guest agent in a VM. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"

/*
 * The agent (docs/interop/qemu-ga in QEMU) is behind a socket in the VM's directory that serves one client at
 * a time, and vmhost wants it for a stop: it is connected to for one command, and left. A guest can say there
 * whatever it likes, at whatever length and pace; that costs the caller no more than VM_AGENT_REPLY_MAX
 * bytes, and its deadline with a second more for each VM_AGENT_RATE bytes of the answer: a command's output
 * is there for one reader only, and an emulated guest passes it on slowly.
 */
#define VM_AGENT_REPLY_MAX                                                                                   \
        (64 * 1024 * 1024) /* bytes: both outputs of a command as the agent keeps them, in base64 */
#define VM_AGENT_RATE (64 * 1024)

/*
 * Waits until a deadline as of vm-clock.h. 0 and what the agent returned, a new reference; -ENOENT or
 * -ECONNREFUSED (no VM); -ETIMEDOUT (no agent answers); -EREMOTEIO with the agent's own text (it refuses);
 * -EPROTO with a text (what answers is no agent); another -errno.
 */
int vm_agent_ask(const char *directory, const char *command, json_t *consume_arguments, uint64_t deadline,
                 json_t **ret, struct error *error);

/* The same on a connection that is there, a non-blocking socket, with an id of one's own. */
int vm_agent_talk(int socket, uint32_t id, const char *command, const json_t *arguments, uint64_t deadline,
                  json_t **ret, struct error *error);
