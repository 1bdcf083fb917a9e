/* Launch: starts a broker where none runs, once, whoever asks for it at the same time. */
#pragma once

#include "base/error.h"
#include "base/place.h"

/*
 * Connects to the broker of a place, and starts it first if it does not run. Of several processes that come
 * at once one starts it, and the others wait. program is the broker's executable, or NULL for the installed
 * one; $BERTH_BROKER counts before both. Waits 10 s at most for a broker that it started. The socket or a
 * negative errno.
 */
int launch_connect(const struct place *place, const char *program, struct error *error);
