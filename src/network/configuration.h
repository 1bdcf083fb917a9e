/* Configuration: the resolved definition of a network, as the broker's `configure` brings it. */
#pragma once

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "base/error.h"

enum network_mode {
        NETWORK_SHARED, /* the host and, by NAT, the outside */
        NETWORK_HOST, /* the host and nothing else */
};

struct reservation {
        struct mac mac;
        uint32_t address; /* host byte order */
        char name[64]; /* empty: none */
};

/* All addresses in host byte order; strings are borrowed from `body`. */
struct configuration {
        json_t *body; /* as it came, for the next broker; owned */
        const char *name;
        enum network_mode mode;
        bool system;
        const char *runtime_directory;
        const char *state_directory;
        uint32_t gateway;
        uint32_t mask;
        bool ipv6;
        struct in6_addr prefix; /* a /64; valid when ipv6 */
        struct in6_addr host6; /* system mode: the host's address towards its networks */
        unsigned index;
        unsigned mtu;
        bool dhcp, dns, nat44, nat66, router_advertisement, anti_spoofing;
        struct reservation *reservations; /* owned */
        size_t n_reservations;
        uint64_t idle_timeout; /* microseconds */
        unsigned max_interfaces_per_user;
        uint8_t key[16];
};

/* Checks and takes apart a `configure` message; the body is referenced. 0 or -errno with nothing to release. */
int configuration_init(struct configuration *ret, json_t *body, struct error *error);
void configuration_deinit(struct configuration *configuration);

/* The `network` object that `acquire` answers, without the lease; NULL when memory is short. */
json_t *configuration_facts(const struct configuration *configuration);

/* The address with this host number below the network's IPv6 prefix. */
struct in6_addr configuration_address6(const struct configuration *configuration, uint32_t host);
