/* Agent: asks the guest's agent to shut the guest down. */
#pragma once

#include "loop/loop.h"

/*
 * QEMU's guest agent (docs/interop/qemu-ga in QEMU) behind a socket that serves one client at a time: it is
 * connected for this one exchange, so that others may use it meanwhile. First guest-sync-delimited, whose
 * answer comes behind a byte that no JSON has, separates us from what others left there; then guest-shutdown,
 * which has no answer when it succeeds.
 */
struct agent;

/* 0: the agent lives, and the order is with it. Else -errno: none there (-ETIMEDOUT), or it refuses
 * (-EREMOTEIO). May free the agent. */
typedef void (*agent_fn)(int result, void *data);

/* The path is of QEMU's socket in `directory`. `fn` is called once, later, if 0 is returned here. */
int agent_shutdown(struct agent **ret, struct loop *loop, const char *directory, const char *socket,
                   uint64_t timeout_us, agent_fn fn, void *data);
struct agent *agent_free(struct agent *agent);
