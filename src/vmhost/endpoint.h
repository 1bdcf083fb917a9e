/* Endpoint: connecting to a socket of QEMU's without ever waiting for it. */
#pragma once

/*
 * A QEMU that is stopped accepts nobody, and once its queue is full connect(2) waits: here it fails with
 * -EAGAIN instead. The path may be of any length. A connected, non-blocking socket, CLOEXEC, or -errno.
 */
int endpoint_connect(const char *directory, const char *name);
