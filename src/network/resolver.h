/* Resolver: the way of DNS queries from a network to the host's own resolver. */
#pragma once

#include "base/error.h"
#include "loop/loop.h"
#include "network/outpost.h"

/*
 * dnsmasq inside the network's namespace asks 127.0.0.1, port RESOLVER_PORT, which is here; each query goes out
 * through a socket of the host's namespace to the name server that the host's /etc/resolv.conf names at that moment: so a stub on
 * 127.0.0.53 can be reached, no firewall between namespaces has a say, and a change of the file counts from
 * the next query on. Queries are relayed as they are; one that gets no answer makes the next name server the
 * preferred one.
 */
#define RESOLVER_PORT 5300

struct resolver;

/* Listens (UDP and TCP) in this process's network namespace. The outpost is borrowed. */
int resolver_new(struct resolver **ret, struct loop *loop, struct outpost *outpost, struct error *error);
struct resolver *resolver_free(struct resolver *resolver);
