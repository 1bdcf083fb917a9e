/* Ruleset: the network's nftables, as text and in transactions. */
#pragma once

#include <stdbool.h>

#include "network/configuration.h"

/*
 * In the network's namespace stand two tables. `inet berth` is the router: what VMs may ask the gateway for, the way to the
 * host (DNAT of the gateway's address) and to the outside. `bridge berth` guards each port: a frame from a VM bears
 * its own MAC and its own addresses, or it is dropped before the bridge learns from it.
 *
 * IPv4 addresses are known, for they are assigned. IPv6 hosts choose theirs (RFC 4862, RFC 8981), so there the first
 * port to use an address owns it as long as the port lives, at most RULESET_ADDRESSES a port; the gateway's, and those that each port
 * would form or be assigned, are taken from the start.
 *
 * In system mode a third table stands in the host's namespace, `inet berth_INDEX`, one for each network, so that none
 * needs to know of the others.
 */
#define RULESET_BRIDGE "br0"
#define RULESET_UPLINK "uplink0"
#define RULESET_ADDRESSES 64 /* that a port may choose for itself */

/* How a new connection through the uplink reaches the host. */
struct ruleset_uplink {
        bool masquerade; /* the uplink forwards only for its own address */
        uint32_t host4; /* 0: no way to the host over IPv4 */
        struct in6_addr host6; /* unspecified: none over IPv6 */
};

struct ruleset_port {
        const char *name;
        struct mac mac;
        uint32_t address; /* 0: not known, as without DHCP: the first that the port uses */
        bool isolated; /* reaches the gateway and no other port */
};

/*
 * Each runs in the namespace that this process is in and is one transaction of the kernel's: all of it or nothing.
 * 0 or -errno.
 */
int ruleset_set_network(const struct configuration *configuration, const struct ruleset_uplink *uplink,
                        const struct ruleset_port *ports, size_t n_ports, struct error *error);
int ruleset_add_port(const struct configuration *configuration, const struct ruleset_port *port, struct error *error);
/* With all that the port had learned, so that others may take it up. */
int ruleset_remove_ports(const struct configuration *configuration, const struct ruleset_port *ports, size_t n_ports,
                         struct error *error);
/* The host's own addresses, as comma-separated lists, possibly empty: guests are kept from its DNS ports. */
int ruleset_set_host_addresses(const char *list4, const char *list6, struct error *error);
/* The subnets of other networks that the host has routes to, in the same form: guests of this one are kept from them. */
int ruleset_set_other_networks(const char *list4, const char *list6, struct error *error);

/* The host's side of a veth uplink, in the host's namespace (an fd). */
int ruleset_set_host(const struct configuration *configuration, int namespace, const char *device,
                     struct error *error);
int ruleset_remove_host(const struct configuration *configuration, int namespace, struct error *error);
/* Whether it is still there: a firewall that is reloaded may have flushed it. */
bool ruleset_host_stands(const struct configuration *configuration, int namespace);
