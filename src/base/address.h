/* MAC, IPv4 and IPv6 addresses as text and as bytes. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct mac {
        uint8_t octets[6];
};

#define MAC_TEXT_SIZE 18 /* "52:54:00:12:34:56" and its end */

/* Six pairs of hexadecimal digits with colons: 0 or -EINVAL. */
int mac_parse(const char *s, struct mac *ret);
/* Lower case; returns buffer. */
char *mac_format(const struct mac *mac, char buffer[static MAC_TEXT_SIZE]);
bool mac_equal(const struct mac *a, const struct mac *b);
/* One that a single interface may have: not multicast (bit 0 of the first octet) and not all zero. */
bool mac_is_unicast(const struct mac *mac);

/* The modified EUI-64 address of a MAC in a /64 (RFC 4291, appendix A); only prefix's first 8 bytes count. */
struct in6_addr address_eui64(const struct in6_addr *prefix, const struct mac *mac);

/* Dotted quad and nothing else: host byte order, 0 or -EINVAL. */
int ipv4_parse(const char *s, uint32_t *ret);
char *ipv4_format(uint32_t address, char buffer[static INET_ADDRSTRLEN]);
/* A netmask of contiguous bits to its length, 0 to 32, or -EINVAL; and back. */
int ipv4_mask_length(uint32_t mask);
uint32_t ipv4_length_mask(unsigned length);

int ipv6_parse(const char *s, struct in6_addr *ret);
char *ipv6_format(const struct in6_addr *address, char buffer[static INET6_ADDRSTRLEN]);
