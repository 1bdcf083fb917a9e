/* Listener: the socket of a forward, on the host's side. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"
#include "vmhost/configuration.h"

/* Bound, and for TCP listening, CLOEXEC; host_port 0 is any that is free. -EADDRINUSE, -EACCES (a privileged
 * port), -EADDRNOTAVAIL (no address of this host) or another -errno, each with a text that names address and
 * port. */
int listener_open(const struct configuration_forward *forward, struct error *error);
/* The port that it is bound to. */
uint16_t listener_port(int fd);
/* {"protocol","listen_address","listen_port","port"}: a new reference, or NULL. */
json_t *listener_describe(int fd, uint16_t guest_port);
