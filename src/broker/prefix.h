/* Prefixes: ranges of IPv4 and IPv6 addresses. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct prefix {
        int family; /* AF_INET, AF_INET6; AF_UNSPEC overlaps nothing */
        unsigned length; /* bits */
        uint8_t bytes[16]; /* network byte order, zero behind the length */
};

#define PREFIX_TEXT_SIZE (INET6_ADDRSTRLEN + 4)

/* Bits behind the length are cleared. The IPv4 address is in host byte order. */
struct prefix prefix_ipv4(uint32_t address, unsigned length);
struct prefix prefix_ipv6(const struct in6_addr *address, unsigned length);

bool prefix_overlaps(const struct prefix *a, const struct prefix *b);
/* "192.168.64.0/24"; returns buffer. */
char *prefix_format(const struct prefix *prefix, char buffer[static PREFIX_TEXT_SIZE]);
