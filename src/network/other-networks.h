/* Other networks: the subnets of the system's networks, which a user's guests could reach through the host. */
#pragma once

#include "network/links.h"

/* Comma-separated, each family's own, in the form ADDRESS/LENGTH. New strings. 0 or -errno. */
int other_networks_list(struct links *host_links, char **ret_list4, char **ret_list6, struct error *error);
