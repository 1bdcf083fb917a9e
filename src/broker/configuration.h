/* Configuration: a definition with all that it leaves open decided: the message that configures a network's
 * process. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"
#include "broker/definition.h"
#include "broker/installation.h"
#include "broker/prefix.h"
#include "broker/subnet.h"

struct configuration_context {
        struct installation *installation; /* choices are remembered here */
        bool system;
        const char *runtime_directory, *state_directory; /* of this network */
        unsigned idle_timeout; /* seconds, where the definition has none */
};

/*
 * `live` holds what the live networks have (CLAIM_LIVE). The host's routes and what is remembered are added
 * here. *ret is the body of `configure`. 0, or -errno with the reason: -EADDRINUSE where a subnet is taken or
 * none is free.
 */
int configuration_resolve(const struct definition *definition, const struct configuration_context *context,
                          struct claims *live, json_t **ret, struct error *error);

/* The prefixes that a configuration takes; AF_UNSPEC where it has none. 0 or -EINVAL. */
int configuration_prefixes(json_t *configuration, struct prefix *ret_ipv4, struct prefix *ret_ipv6);
