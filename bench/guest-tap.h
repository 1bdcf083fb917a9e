/* The tap of a host-speed guest: a network namespace's device, whose other side is a file descriptor. */
#pragma once

#include "base/address.h"
#include "base/error.h"

struct guest_tap {
        const char *namespace; /* a path, such as /run/netns/one */
        const char *device;
        const char *bridge; /* NULL, or where it becomes a port; then without MAC and address */
        struct mac mac;
        uint32_t address; /* 0: none */
        uint32_t mask;
        unsigned mtu;
};

/*
 * Makes the tap and sets it up: IFF_VNET_HDR with the header and the offloads that Berth gives its own taps, so that two
 * of them can be joined frame by frame. Returns to the namespace it was called in. The tap's fd, non-blocking, or -errno.
 */
int guest_tap_open(const struct guest_tap *tap, struct error *error);
