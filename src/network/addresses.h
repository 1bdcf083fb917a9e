/* Addresses: who has which IPv4 address, across restarts of everything. */
#pragma once

#include "network/configuration.h"

/*
 * An identity is what makes an interface the same one the next time: "id:UUID", "name:NAME" or "mac:MAC"; an
 * interface with none of them is a passing one, whose address is free again when it goes. An identity keeps its address
 * when its interface goes, and loses it only when the subnet is full and it is the one that was away the longest.
 * The memory is `addresses.json` in the network's state directory.
 */
struct addresses;

/* The configuration is borrowed for the object's life. A memory that cannot be read is set aside with a warning. */
int addresses_new(struct addresses **ret, const struct configuration *configuration, struct error *error);
struct addresses *addresses_free(struct addresses *addresses);

/*
 * Takes an address for an interface: the reservation of its MAC, else `wanted` (0: none), else the one the identity
 * had, else a free one. identity may be NULL. Errors: -EADDRINUSE (wanted is taken), -EINVAL (wanted is no VM's address here),
 * -ENOSPC (all are in use), others from writing the memory.
 */
int addresses_take(struct addresses *addresses, const char *identity, const struct mac *mac, uint32_t wanted,
                   uint32_t *ret, struct error *error);
/* The interface is gone. */
void addresses_give(struct addresses *addresses, uint32_t address);

/* The MAC that an identity gets: the keyed hash of the network and the identity, locally administered, unicast. */
struct mac addresses_mac(const struct configuration *configuration, const char *identity);
/* A MAC that is nobody's, at random. */
struct mac addresses_random_mac(void);
