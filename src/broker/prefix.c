#include "broker/prefix.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* Whether the first `length` bits are the same. */
static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned length) {
        unsigned whole = length / 8, rest = length % 8;

        if (memcmp(a, b, whole) != 0)
                return false;
        return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static struct prefix prefix_make(int family, const void *address, size_t size, unsigned length) {
        struct prefix prefix = { .family = family, .length = length };

        memcpy(prefix.bytes, address, size);
        for (unsigned i = 0; i < size; i++) {
                if (length < 8 * i)
                        prefix.bytes[i] = 0;
                else if (length < 8 * (i + 1))
                        prefix.bytes[i] &= (uint8_t)(0xff00 >> (length - 8 * i));
        }
        return prefix;
}

struct prefix prefix_ipv4(uint32_t address, unsigned length) {
        uint32_t network_order = htonl(address);

        return prefix_make(AF_INET, &network_order, sizeof(network_order), length);
}

struct prefix prefix_ipv6(const struct in6_addr *address, unsigned length) {
        return prefix_make(AF_INET6, address, sizeof(*address), length);
}

bool prefix_overlaps(const struct prefix *a, const struct prefix *b) {
        if (a->family != b->family || a->family == AF_UNSPEC)
                return false;
        return bits_equal(a->bytes, b->bytes, a->length < b->length ? a->length : b->length);
}

char *prefix_format(const struct prefix *prefix, char buffer[static PREFIX_TEXT_SIZE]) {
        char address[INET6_ADDRSTRLEN] = "none";

        if (prefix->family != AF_UNSPEC)
                inet_ntop(prefix->family, prefix->bytes, address, sizeof(address));
        snprintf(buffer, PREFIX_TEXT_SIZE, "%s/%u", address, prefix->length % 1000);
        return buffer;
}
