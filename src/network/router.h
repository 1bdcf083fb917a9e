/* Router: the settings, the bridge and the gateway's addresses of a network's namespace. */
#pragma once

#include "network/configuration.h"
#include "network/links.h"

/* In a new namespace, or again in one that is taken over. 0 or -errno. */
int router_set_up(const struct configuration *configuration, struct links *links, struct error *error);
