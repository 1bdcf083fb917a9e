/* Listing: what the process of a network alone knows of it, as the broker's `list` asks for. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "network/dnsmasq.h"
#include "network/forwards.h"
#include "network/ports.h"
#include "network/uplink.h"

struct listing_parts {
        struct ports *ports;
        const struct forwards *forwards;
        const struct uplink_ops *uplink_ops;
        const void *uplink;
        const struct dnsmasq *dnsmasq; /* NULL: none */
        uint64_t idle_since; /* loop_now; 0: not idle */
        uint64_t idle_timeout; /* microseconds */
};

/* The answer to the `list` of this serial, a new object that fits a line. */
json_t *listing_make(uint64_t serial, const struct listing_parts *parts);
