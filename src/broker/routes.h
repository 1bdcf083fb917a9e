/* Routes: what the host's routing tables already lead somewhere. */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "broker/prefix.h"

struct route {
        struct prefix prefix;
        char device[IF_NAMESIZE]; /* "" where there is none, or several */
};

struct routes {
        struct route *entries;
        size_t n_entries;
};

#define ROUTES_INIT ((struct routes){ .n_entries = 0 })

/*
 * The routes of all tables that overlap `interest`, from this process's network namespace. Left out are
 *  - those shorter than /8 (IPv4) or /3 (IPv6): default routes, also the halves of one that VPNs use in its
 * place;
 *  - those that lead nowhere (unreachable, blackhole, prohibit, throw): nobody lives behind them;
 *  - with `skip_own`, those on devices named berth*: they lead to networks of the system's broker.
 * 0 or -errno.
 */
int routes_read(const struct prefix *interest, bool skip_own, struct routes *ret, struct error *error);
void routes_deinit(struct routes *routes);
