#include "broker/subnet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void claims_deinit(struct claims *claims) {
        for (size_t i = 0; i < claims->n_entries; i++)
                free(claims->entries[i].holder);
        free(claims->entries);
        *claims = CLAIMS_INIT;
}

int claims_add(struct claims *claims, const struct prefix *prefix, enum claim_kind kind, const char *holder) {
        struct claim *entries = reallocarray(claims->entries, claims->n_entries + 1, sizeof(*entries));

        if (!entries)
                return -ENOMEM;
        claims->entries = entries;

        char *copy = strdup(holder);
        if (!copy)
                return -ENOMEM;
        entries[claims->n_entries++] = (struct claim){ .prefix = *prefix, .kind = kind, .holder = copy };
        return 0;
}

int claims_add_routes(struct claims *claims, const struct routes *routes) {
        for (size_t i = 0; i < routes->n_entries; i++) {
                int r = claims_add(claims, &routes->entries[i].prefix, CLAIM_ROUTE,
                                   routes->entries[i].device);
                if (r < 0)
                        return r;
        }
        return 0;
}

const struct claim *claims_find(const struct claims *claims, const struct prefix *prefix) {
        const struct claim *found = NULL;

        for (size_t i = 0; i < claims->n_entries; i++) {
                const struct claim *claim = &claims->entries[i];

                if (prefix_overlaps(&claim->prefix, prefix) && (!found || claim->kind < found->kind))
                        found = claim;
        }
        return found;
}

char *claim_format(const struct claim *claim, char buffer[static CLAIM_TEXT_SIZE]) {
        char prefix[PREFIX_TEXT_SIZE];

        prefix_format(&claim->prefix, prefix);
        if (claim->kind == CLAIM_ROUTE)
                snprintf(buffer, CLAIM_TEXT_SIZE, "the host's route %s%s%.64s", prefix,
                         *claim->holder ? " on " : "", claim->holder);
        else
                snprintf(buffer, CLAIM_TEXT_SIZE, "%s, %s network \"%.64s\"", prefix,
                         claim->kind == CLAIM_LIVE ? "used by" : "remembered for", claim->holder);
        return buffer;
}

struct prefix subnet_automatic(unsigned third_octet) {
        return prefix_ipv4((192u << 24) | (168u << 16) | (third_octet << 8), SUBNET_LENGTH);
}

int subnet_pick(const struct claims *claims, unsigned *ret, const struct claim **ret_evicted) {
        const struct claim *evicted = NULL;
        unsigned evicted_octet = 0;

        for (unsigned octet = SUBNET_FIRST; octet <= SUBNET_LAST; octet++) {
                struct prefix prefix = subnet_automatic(octet);
                const struct claim *claim = claims_find(claims, &prefix);

                if (!claim) {
                        *ret = octet;
                        *ret_evicted = NULL;
                        return 0;
                }
                if (claim->kind == CLAIM_REMEMBERED && !evicted) {
                        evicted = claim;
                        evicted_octet = octet;
                }
        }
        if (!evicted)
                return -EADDRINUSE;
        *ret = evicted_octet;
        *ret_evicted = evicted;
        return 0;
}
