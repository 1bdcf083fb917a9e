/* MAC, IPv4 and IPv6 addresses as text and as bytes. */
#include "base/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

int mac_parse(const char *s, struct mac *ret) {
        struct mac mac;

        if (strlen(s) != MAC_TEXT_SIZE - 1)
                return -EINVAL;
        for (size_t i = 0; i < 6; i++, s += 3) {
                int high = hex_digit(s[0]), low = hex_digit(s[1]);

                if (high < 0 || low < 0 || s[2] != (i < 5 ? ':' : '\0'))
                        return -EINVAL;
                mac.octets[i] = (uint8_t)(high << 4 | low);
        }
        *ret = mac;
        return 0;
}

char *mac_format(const struct mac *mac, char buffer[static MAC_TEXT_SIZE]) {
        const uint8_t *o = mac->octets;

        snprintf(buffer, MAC_TEXT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", o[0], o[1], o[2], o[3], o[4], o[5]);
        return buffer;
}

bool mac_equal(const struct mac *a, const struct mac *b) {
        return memcmp(a->octets, b->octets, sizeof(a->octets)) == 0;
}

bool mac_is_unicast(const struct mac *mac) {
        static const struct mac zero;

        return !(mac->octets[0] & 1) && !mac_equal(mac, &zero);
}

struct in6_addr address_eui64(const struct in6_addr *prefix, const struct mac *mac) {
        struct in6_addr address = *prefix;
        uint8_t *id = address.s6_addr + 8;

        memcpy(id, mac->octets, 3);
        id[3] = 0xff;
        id[4] = 0xfe;
        memcpy(id + 5, mac->octets + 3, 3);
        id[0] ^= 0x02; /* the universal/local bit, inverted */
        return address;
}

int ipv4_parse(const char *s, uint32_t *ret) {
        struct in_addr address;

        if (inet_pton(AF_INET, s, &address) != 1)
                return -EINVAL;
        *ret = ntohl(address.s_addr);
        return 0;
}

char *ipv4_format(uint32_t address, char buffer[static INET_ADDRSTRLEN]) {
        struct in_addr a = { .s_addr = htonl(address) };

        inet_ntop(AF_INET, &a, buffer, INET_ADDRSTRLEN);
        return buffer;
}

int ipv4_mask_length(uint32_t mask) {
        unsigned length = mask ? 32 - (unsigned)__builtin_ctz(mask) : 0;

        return ipv4_length_mask(length) == mask ? (int)length : -EINVAL;
}

uint32_t ipv4_length_mask(unsigned length) {
        assert(length <= 32);
        /* A shift by all 32 bits is undefined. */
        return length ? UINT32_MAX << (32 - length) : 0;
}

int ipv6_parse(const char *s, struct in6_addr *ret) {
        struct in6_addr address;

        if (inet_pton(AF_INET6, s, &address) != 1)
                return -EINVAL;
        *ret = address;
        return 0;
}

char *ipv6_format(const struct in6_addr *address, char buffer[static INET6_ADDRSTRLEN]) {
        inet_ntop(AF_INET6, address, buffer, INET6_ADDRSTRLEN);
        return buffer;
}
