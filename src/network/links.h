/* Links: devices, addresses and routes of one network namespace, over rtnetlink. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "base/error.h"

/*
 * A socket is bound for life to the namespace in which it was opened (rtnetlink(7)): one made before the process
 * enters another namespace goes on to serve the first. Making what is there already is success, so that a process that
 * takes over a namespace runs the same steps as one that made it. Names are those of devices in that namespace.
 */
struct links;

#define LINK_NAME_MAX 16

struct link {
        int index;
        char name[LINK_NAME_MAX];
        char alias[256];
        struct mac mac; /* all zero where it has none of six bytes */
        int master; /* 0: none */
        bool up;
        /* As the host's side counts. */
        uint64_t rx_packets, rx_bytes, rx_dropped, tx_packets, tx_bytes, tx_dropped;
};

typedef void (*links_link_fn)(const struct link *link, void *data);

int links_new(struct links **ret, struct error *error);
struct links *links_free(struct links *links);

/* A device's index, or -ENODEV. */
int links_find(struct links *links, const char *name);
/* Calls fn for every device. 0 or -errno. */
int links_dump(struct links *links, links_link_fn fn, void *data, struct error *error);

int links_add_bridge(struct links *links, const char *name, const struct mac *mac, unsigned mtu, struct error *error);
/* The peer is made in the namespace that peer_namespace (an fd, borrowed) stands for. */
int links_add_veth(struct links *links, const char *name, const char *peer, int peer_namespace, unsigned mtu,
                   struct error *error);
/* Not there is success. */
int links_delete(struct links *links, const char *name, struct error *error);

int links_set_up(struct links *links, const char *name, struct error *error);
/*
 * How neighbours are asked for on a device, by ARP and by neighbour discovery: so often, so many milliseconds apart.
 * By rtnetlink, for a user namespace does not show the settings of /proc/sys/net/ipv6/neigh (neigh_sysctl_register).
 */
int links_set_solicitation(struct links *links, const char *name, unsigned times, unsigned interval_ms,
                           struct error *error);
/* Makes the device a port of the bridge, with an alias, a MAC, an MTU, and up; isolated ports reach only ports that are not
 * (the kernel's answer is read back, for old ones ignore the flag). */
int links_set_port(struct links *links, const char *name, const char *bridge, const char *alias,
                   const struct mac *mac, unsigned mtu, bool isolated, struct error *error);

int links_add_address4(struct links *links, const char *name, uint32_t address, unsigned length, struct error *error);
/* Without duplicate address detection (IFA_F_NODAD): usable at once. */
int links_add_address6(struct links *links, const char *name, const struct in6_addr *address, unsigned length,
                       struct error *error);

/* A route to destination/length (0: the default route) through a device; a gateway of 0 means on link, another is
 * taken as on link though no address says so; a source of 0 is left to the kernel. */
int links_add_route4(struct links *links, uint32_t destination, unsigned length, uint32_t gateway, const char *name,
                     uint32_t source, struct error *error);
int links_add_route6(struct links *links, const struct in6_addr *destination, unsigned length,
                     const struct in6_addr *gateway, const char *name, const struct in6_addr *source,
                     struct error *error);

/* Whether the main table has a default route of the family (AF_INET, AF_INET6). */
bool links_has_default_route(struct links *links, int family);

/* Calls fn for every address of the family: in network byte order, 4 or 16 bytes. 0 or -errno. */
typedef void (*links_address_fn)(int family, const void *address, void *data);
int links_dump_addresses(struct links *links, int family, links_address_fn fn, void *data, struct error *error);

/* Calls fn for every route of the family in the main table that leads through a device, with its destination in
 * network byte order and the device's index. 0 or -errno. */
typedef void (*links_route_fn)(int family, const void *destination, unsigned length, int device, void *data);
int links_dump_routes(struct links *links, int family, links_route_fn fn, void *data, struct error *error);
