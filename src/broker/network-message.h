/* Network-message: what a network's process says to the broker. */
#pragma once

#include "wire/wire.h"

/* For struct worker_events; data is the network. A message that breaks the protocol costs the process its
 * life. */
void network_message(void *data, struct wire_message *message);
