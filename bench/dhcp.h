/* DHCP as far as it takes to see that a server answers: a discover out, an offer in. */
#pragma once

#include <stdint.h>

#include "base/address.h"

/*
 * Sends DHCPDISCOVER (RFC 2131) into a tap, behind `header` bytes of vnet header, again each 20 ms, until an offer for
 * it comes out. 0; -ETIMEDOUT after timeout_us; or the tap's error.
 */
int dhcp_await_offer(int tap, uint32_t header, const struct mac *mac, uint64_t timeout_us);
