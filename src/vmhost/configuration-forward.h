/* Configuration forwards: the text [tcp:|udp:][ADDRESS:]HOST_PORT:GUEST_PORT of config.json. */
#pragma once

#include <stdbool.h>

#include "vmhost/configuration.h"

/* An IPv6 address is in brackets; without an address it is 127.0.0.1. 0 or -EINVAL. */
int forward_parse(const char *text, struct configuration_forward *ret);
/* The same in full, a new string; NULL when memory is short. */
char *forward_format(const struct configuration_forward *forward);
/* Whether one takes the other's port of the host. IPv6 sockets here take no IPv4. */
bool forward_collides(const struct configuration_forward *a, const struct configuration_forward *b);
