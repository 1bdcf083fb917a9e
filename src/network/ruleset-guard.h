/* Ruleset's guard: the rules of `bridge berth`, one set of chains for each port; see ruleset.h. */
#pragma once

#include <stdio.h>

#include "network/configuration.h"
#include "network/nftables.h"
#include "network/ruleset.h"

/* The frame of it, into a table that is there; then each port. */
void guard_print(FILE *f, const struct configuration *c);
void guard_print_port(FILE *f, const struct configuration *c, const struct ruleset_port *port);
/* With the guard or without it. */
void guard_print_isolation(FILE *f, const struct ruleset_port *port);
/* Takes away either, with all that the port had learned. */
void guard_print_removal(FILE *f, struct nft_ctx *nft, const struct configuration *c, const struct ruleset_port *port);
