/* Subnets: picking one that nobody else has. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "broker/prefix.h"
#include "broker/routes.h"

/* Automatic subnets are the /24s from 192.168.64.0 to 192.168.254.0, with the gateway at .1. */
#define SUBNET_FIRST 64
#define SUBNET_LAST 254
#define SUBNET_LENGTH 24

enum claim_kind {
        CLAIM_ROUTE, /* holder: the device */
        CLAIM_LIVE, /* holder: the network */
        CLAIM_REMEMBERED, /* likewise, a network that is not live: kept for it while there is another choice
                           */
};

struct claim {
        struct prefix prefix;
        enum claim_kind kind;
        char *holder;
};

struct claims {
        struct claim *entries;
        size_t n_entries;
};

#define CLAIMS_INIT ((struct claims){ .n_entries = 0 })

void claims_deinit(struct claims *claims);
/* The holder is copied. 0 or -ENOMEM. */
int claims_add(struct claims *claims, const struct prefix *prefix, enum claim_kind kind, const char *holder);
int claims_add_routes(struct claims *claims, const struct routes *routes);
/* The first claim on anything in the prefix, the strongest kind first; borrowed, or NULL. */
const struct claim *claims_find(const struct claims *claims, const struct prefix *prefix);

#define CLAIM_TEXT_SIZE (PREFIX_TEXT_SIZE + 128)
/* "the host's route 192.168.64.0/24 on eth0"; returns buffer. */
char *claim_format(const struct claim *claim, char buffer[static CLAIM_TEXT_SIZE]);

/* The prefix of the automatic subnet with this third octet. */
struct prefix subnet_automatic(unsigned third_octet);

/*
 * Picks the third octet of the first automatic subnet without a claim. Where all have one, the first that is
 * merely remembered for a network that is not live, and *ret_evicted is that claim (NULL otherwise). 0, or
 * -EADDRINUSE.
 */
int subnet_pick(const struct claims *claims, unsigned *ret, const struct claim **ret_evicted);
