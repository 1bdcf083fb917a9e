/* An interface: its facts and the file descriptors of its tap. */
#pragma once

#include <berth/berth.h>

#include "base/error.h"
#include "wire/wire.h"

/* Of the reply to a `start`, whose fds it takes. 0, -EPROTO or another negative errno, with a text. */
int interface_new(struct berth_interface **ret, struct wire_message *reply, struct error *error);
