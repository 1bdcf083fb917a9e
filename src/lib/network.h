/* A network: the handle that acquire returned, and what can be asked over it. */
#pragma once

#include <berth/berth.h>

#include "base/error.h"
#include "wire/wire.h"

/* Of the reply to an `acquire`, whose fd it takes. 0, -EPROTO or another negative errno, with a text. */
int network_new(struct berth_network **ret, struct wire_message *reply, struct error *error);
