/* Host addresses: those of the host's own devices, as lists for the rules. */
#pragma once

#include "network/links.h"

/* Comma-separated, each family's own; loopback and link-local ones are left out. New strings. 0 or -errno. */
int host_addresses_list(struct links *host_links, char **ret_list4, char **ret_list6, struct error *error);
