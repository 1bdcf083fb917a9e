/* Firewall: the rules of a network, kept as its uplink and the host are now. */
#pragma once

#include "network/configuration.h"
#include "network/links.h"
#include "network/ports.h"
#include "network/ruleset.h"

/*
 * All rules are set when the network begins and whenever its uplink leads to the host in another way. Two lists in them
 * change by themselves, with the host's addresses and routes: the host's own addresses, and the subnets of other
 * networks. The rules of a single port come and go with it (ports.h).
 */
struct firewall;

/* All borrowed for its life; host_links are those of the host's namespace. */
int firewall_new(struct firewall **ret, const struct configuration *configuration, struct links *host_links,
                 const struct ports *ports);
/* Leaves the rules as they are. */
struct firewall *firewall_free(struct firewall *firewall);

/* Sets all rules, for this uplink. 0 or -errno. */
int firewall_set(struct firewall *firewall, const struct ruleset_uplink *uplink, struct error *error);
/* The host's addresses or routes may be others than before. 0 or -errno. */
int firewall_look(struct firewall *firewall, struct error *error);

/* The uplink that the rules were last set for; empty before. */
const struct ruleset_uplink *firewall_uplink(const struct firewall *firewall);
