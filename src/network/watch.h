/* Watch: being told that something changed in a network namespace. */
#pragma once

#include "base/error.h"
#include "loop/loop.h"

/*
 * Of netlink's messages only the fact is used: whoever is told looks at what is there now, so nothing depends on a
 * message being seen, and an overrun of the socket is one more reason to look.
 */
struct watch;

/* The socket is a netlink one of the namespace to watch, consumed, on failure too; groups is a mask of its family's
 * groups (RTMGRP_*, or 1 << (NFNLGRP_* - 1)).
 * fn is called from the loop, `delay` microseconds behind the first of a burst of changes. */
int watch_new(struct watch **ret, struct loop *loop, int consume_socket, unsigned groups, uint64_t delay,
              void (*fn)(void *data), void *data, struct error *error);
struct watch *watch_free(struct watch *watch);
