/* The resolver: makes a network's DNS the one that this process's programs ask. */
#pragma once

#include "base/error.h"

/*
 * In a mount namespace of its own, replaces /etc/resolv.conf by one that asks `gateway` and searches
 * `domain`, and hides the sockets by which the C library would ask the host's resolvers instead. Takes the
 * privilege to mount. Nothing outside this process and its children changes. 0, or a negative errno with a
 * text, and then all is as it was but for the mount namespace.
 */
int resolver_replace(const char *gateway, const char *domain, struct error *error);
