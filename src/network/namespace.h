/* Namespace: making the network's namespaces, or entering those of a process that was killed. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* The namespaces this process lives in, as file descriptors for others to enter or to keep them by. */
struct namespace {
        int user; /* -1 in system mode */
        int network;
};

#define NAMESPACE_INIT ((struct namespace){ .user = -1, .network = -1 })

/*
 * Moves this process (single-threaded: unshare(2), CLONE_NEWUSER) into a new network namespace, in user mode inside
 * a new user namespace, where our uid is mapped to 0. 0 or -errno; on failure the process may be half inside and is
 * to exit.
 */
int namespace_create(bool system, struct namespace *ret, struct error *error);
/* Enters existing ones. The fds are consumed, on failure too. */
int namespace_enter(struct namespace consume, struct namespace *ret, struct error *error);
void namespace_deinit(struct namespace *namespace);
