/* Listener: the broker's socket. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "loop/loop.h"

struct listener;

/* A connection has come; the fd is consumed. Its peer can pass no file descriptors where the kernel can refuse them
 * (fd_refuse_rights): what it sent before it was accepted may carry some. */
typedef void (*listener_fn)(void *data, int consume_fd);

/*
 * A socket at `path`, made by listener_open. The caller holds the lock of the directory that the socket
 * belongs to, so a socket file that is there already and that nobody listens on may be replaced. The path is
 * copied. 0 or -ENOMEM.
 */
int listener_new(struct listener **ret, struct loop *loop, const char *path, mode_t mode, listener_fn fn,
                 void *data);
/* A socket that the service manager listens on and keeps. The fd is consumed, on failure too. */
int listener_new_activated(struct listener **ret, struct loop *loop, int consume_fd, listener_fn fn,
                           void *data);
/* Removes the socket file if it is still this one. Queued connections are lost. NULL is fine. */
struct listener *listener_free(struct listener *listener);

/* Listens; who connects waits until listener_accept. Does nothing on an activated one. */
int listener_open(struct listener *listener, struct error *error);
/* Accepts connections from now on, also after listener_open is called anew. 0 or -errno. */
int listener_accept(struct listener *listener);

/*
 * Stops listening such that nobody who managed to connect is lost: the connections that are queued are
 * accepted, later ones fail to connect. Returns how many came; then the caller has to open it again or to
 * serve them without.
 */
unsigned listener_close(struct listener *listener);
