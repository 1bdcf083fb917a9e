/* Endpoint: connecting to a socket in the VM's directory without ever waiting for whoever listens. */
#pragma once

/*
 * A process that is stopped accepts nobody, and once its queue is full connect(2) waits: here it fails with
 * -EAGAIN instead. The path may be of any length. A connected, non-blocking socket, CLOEXEC, or -errno.
 */
int endpoint_connect(const char *directory, const char *name);
