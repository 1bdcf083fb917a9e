#include "frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/memory.h"
#include "network/tap.h"

const struct mac frame_broadcast = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };

void frame_put(struct frame *frame, const void *data, size_t size) {
        assert_true(frame->size + size <= sizeof(frame->bytes));
        if (size > 0)
                memcpy(frame->bytes + frame->size, data, size);
        frame->size += size;
}

void frame_put_16(struct frame *frame, uint16_t value) {
        frame_put(frame, &(uint16_t){ htons(value) }, 2);
}

void frame_put_32(struct frame *frame, uint32_t value) {
        frame_put(frame, &(uint32_t){ htonl(value) }, 4);
}

void frame_ethernet(struct frame *frame, const struct mac *to, const struct mac *from, uint16_t type) {
        frame->size = 0;
        frame_put(frame, to, sizeof(*to));
        frame_put(frame, from, sizeof(*from));
        frame_put_16(frame, type);
}

void frame_arp(struct frame *frame, const struct mac *from, unsigned operation, const struct mac *sender,
               uint32_t sender_address, uint32_t target_address) {
        frame_ethernet(frame, &frame_broadcast, from, ETHERTYPE_ARP);
        frame_put(frame, "\0\1\x08\0\6\4", 6);
        frame_put_16(frame, (uint16_t)operation);
        frame_put(frame, sender, sizeof(*sender));
        frame_put_32(frame, sender_address);
        frame_put(frame, (uint8_t[6]){}, 6);
        frame_put_32(frame, target_address);
}

static uint16_t checksum(const uint8_t *data, size_t size) {
        uint32_t sum = 0;

        for (size_t i = 0; i < size; i += 2)
                sum += (uint32_t)(data[i] << 8 | data[i + 1]);
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return (uint16_t)~sum;
}

void frame_ipv4(struct frame *frame, const struct mac *to, const struct mac *from, uint32_t source,
                uint32_t destination, unsigned protocol, unsigned offset, bool more, const void *payload,
                size_t size) {
        frame_ethernet(frame, to, from, ETHERTYPE_IP);
        size_t header = frame->size;

        frame_put_16(frame, 0x4500);
        frame_put_16(frame, (uint16_t)(20 + size));
        frame_put_16(frame, 0x1234);
        frame_put_16(frame, (uint16_t)(offset / 8 | (more ? 0x2000 : 0)));
        frame_put_16(frame, (uint16_t)(64 << 8 | protocol));
        frame_put_16(frame, 0);
        frame_put_32(frame, source);
        frame_put_32(frame, destination);
        uint16_t sum = htons(checksum(frame->bytes + header, 20));
        memcpy(frame->bytes + header + 10, &sum, 2);
        frame_put(frame, payload, size);
}

/* A UDP header without a checksum, and what it carries. */
static void put_udp(struct frame *datagram, unsigned source_port, unsigned destination_port,
                    const void *payload, size_t size) {
        frame_put_16(datagram, (uint16_t)source_port);
        frame_put_16(datagram, (uint16_t)destination_port);
        frame_put_16(datagram, (uint16_t)(8 + size));
        frame_put_16(datagram, 0);
        frame_put(datagram, payload, size);
}

void frame_udp4(struct frame *frame, const struct mac *to, const struct mac *from, uint32_t source,
                uint32_t destination, unsigned source_port, unsigned destination_port, const void *payload,
                size_t size) {
        struct frame datagram = {};

        put_udp(&datagram, source_port, destination_port, payload, size);
        frame_ipv4(frame, to, from, source, destination, IPPROTO_UDP, 0, false, datagram.bytes,
                   datagram.size);
}

void frame_discover(struct frame *frame, const struct mac *from, const struct mac *client, uint32_t id) {
        struct frame message = {};

        frame_put(&message, "\1\1\6\0", 4);
        frame_put_32(&message, id);
        frame_put(&message, (uint8_t[20]){}, 20);
        frame_put(&message, client, sizeof(*client));
        frame_put(&message, (uint8_t[10 + 192]){}, 10 + 192);
        frame_put(&message, "\x63\x82\x53\x63\x35\1\1\xff", 8);
        frame_udp4(frame, &frame_broadcast, from, 0, INADDR_BROADCAST, 68, 67, message.bytes, message.size);
}

void frame_ipv6(struct frame *frame, const struct mac *to, const struct mac *from, const char *source,
                const char *destination, unsigned next_header, const void *payload, size_t size) {
        struct in6_addr s, d;

        assert_int_equal(ipv6_parse(source, &s), 0);
        assert_int_equal(ipv6_parse(destination, &d), 0);
        frame_ethernet(frame, to, from, ETHERTYPE_IPV6);
        frame_put_32(frame, 0x60000000);
        frame_put_16(frame, (uint16_t)size);
        frame_put_16(frame, (uint16_t)(next_header << 8 | 255));
        frame_put(frame, &s, sizeof(s));
        frame_put(frame, &d, sizeof(d));
        frame_put(frame, payload, size);
}

void frame_udp6(struct frame *frame, const struct mac *to, const struct mac *from, const char *source,
                const char *destination, unsigned source_port, unsigned destination_port) {
        struct frame datagram = {};

        put_udp(&datagram, source_port, destination_port, "hello", 5);
        frame_ipv6(frame, to, from, source, destination, IPPROTO_UDP, datagram.bytes, datagram.size);
}

void frame_discovery(struct frame *frame, const struct mac *from, const char *source, const char *destination,
                     unsigned type, const char *target) {
        struct frame message = {};
        struct in6_addr address;

        frame_put_16(&message, (uint16_t)(type << 8));
        frame_put_16(&message, 0);
        frame_put_32(&message, 0);
        if (target) {
                assert_int_equal(ipv6_parse(target, &address), 0);
                frame_put(&message, &address, sizeof(address));
        } else
                frame_put(&message, (uint8_t[8]){}, 8);
        frame_ipv6(frame, &frame_broadcast, from, source, destination, IPPROTO_ICMPV6, message.bytes,
                   message.size);
}

void frame_send(const struct frame *frame, int fd) {
        uint8_t header[TAP_VNET_HEADER_SIZE] = {};
        const struct iovec iov[] = {
                { .iov_base = header, .iov_len = sizeof(header) },
                { .iov_base = (void *)frame->bytes, .iov_len = frame->size },
        };

        assert_int_equal(writev(fd, iov, ARRAY_SIZE(iov)), sizeof(header) + frame->size);
}

/* The next frame that comes out of a tap within the time; false when none did. */
static bool receive(int fd, int timeout_ms, struct frame *ret) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        uint8_t header[TAP_VNET_HEADER_SIZE];
        const struct iovec iov[] = {
                { .iov_base = header, .iov_len = sizeof(header) },
                { .iov_base = ret->bytes, .iov_len = sizeof(ret->bytes) },
        };

        if (poll(&p, 1, timeout_ms) <= 0)
                return false;
        ssize_t n = readv(fd, iov, ARRAY_SIZE(iov));
        assert_true(n > (ssize_t)sizeof(header));
        ret->size = (size_t)n - sizeof(header);
        return true;
}

static bool same(const struct frame *a, const struct frame *b) {
        return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

/* Sends a herald until it arrives (the bridge may not forward for a new port yet); whether `frame` came
 * before. */
static bool seen_before_herald(const struct frame *frame, const struct nic *from, const struct nic *to) {
        static uint32_t serial;
        struct frame herald, got;
        bool seen = false;

        frame_discover(&herald, &from->mac, &from->mac, ++serial);
        for (int tries = 0; tries < 1200; tries++) {
                frame_send(&herald, from->fd);
                while (receive(to->fd, 50, &got)) {
                        if (same(&got, &herald))
                                return seen;
                        seen |= frame && same(&got, frame);
                }
        }
        fail_msg("no frame at all gets from %s to %s", from->device, to->device);
        return false;
}

bool frame_passes_heralded(const struct frame *frame, const struct nic *from, const struct nic *to,
                           const struct nic *herald) {
        seen_before_herald(NULL, herald, to);
        frame_send(frame, from->fd);
        return seen_before_herald(frame, herald, to);
}

bool frame_passes(const struct frame *frame, const struct nic *from, const struct nic *to) {
        return frame_passes_heralded(frame, from, to, from);
}
