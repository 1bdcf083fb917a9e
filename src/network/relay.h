/* Relay: bytes between two stream sockets, both ways, until both have ended. */
#pragma once

#include "loop/loop.h"

/*
 * Each direction has a pipe of 64 KiB through which the kernel splices: a slow reader slows its writer, and nothing is
 * lost. The end of one side's stream is passed on by shutdown(2) once all before it has been written, and the other
 * direction goes on (a half-closed connection works). A broken connection breaks the other, and so does the end of this
 * process, even by SIGKILL: the peer gets a reset, so that it can tell an abort from an end. Urgent bytes of TCP are
 * passed on as ordinary ones, in their place. A peer that vanished is noticed by TCP's keepalive.
 */
struct relay;

/* Both are consumed, on failure too, and made non-blocking; `b` may still be connecting. `ended` is called once,
 * from the loop, when all is done, and is to free the relay. */
int relay_new(struct relay **ret, struct loop *loop, int consume_a, int consume_b,
              void (*ended)(struct relay *relay, void *data), void *data);
struct relay *relay_free(struct relay *relay);
