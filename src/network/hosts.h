/* Hosts: the VMs of a network, as dnsmasq is to know them. */
#pragma once

#include "network/configuration.h"
#include "network/dnsmasq.h"
#include "network/ports.h"

/* The ports, and the reservations that no port stands for (a VM inside a VM, say): a new array in *ret, whose names are
 * borrowed from both. 0 or -ENOMEM. */
int hosts_list(const struct configuration *configuration, const struct ports *ports, struct dnsmasq_host **ret,
               size_t *ret_n);
