/* Frames: Ethernet put together by hand, and sent through the taps of a network. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "world.h"

struct frame {
        uint8_t bytes[2048];
        size_t size;
};

extern const struct mac frame_broadcast;

void frame_ethernet(struct frame *frame, const struct mac *to, const struct mac *from, uint16_t type);
void frame_put(struct frame *frame, const void *data, size_t size);
void frame_put_16(struct frame *frame, uint16_t value);
void frame_put_32(struct frame *frame, uint32_t value);

/* operation: 1 a request, 2 a reply. The Ethernet source is `from`, whatever `sender` is. */
void frame_arp(struct frame *frame, const struct mac *from, unsigned operation, const struct mac *sender,
               uint32_t sender_address, uint32_t target_address);
/* `offset` is a fragment's, in bytes; `more` says that others follow. */
void frame_ipv4(struct frame *frame, const struct mac *to, const struct mac *from, uint32_t source,
                uint32_t destination, unsigned protocol, unsigned offset, bool more, const void *payload,
                size_t size);
void frame_udp4(struct frame *frame, const struct mac *to, const struct mac *from, uint32_t source,
                uint32_t destination, unsigned source_port, unsigned destination_port, const void *payload,
                size_t size);
/* What a DHCP client sends first, with its transaction id. */
void frame_discover(struct frame *frame, const struct mac *from, const struct mac *client, uint32_t id);

void frame_ipv6(struct frame *frame, const struct mac *to, const struct mac *from, const char *source,
                const char *destination, unsigned next_header, const void *payload, size_t size);
void frame_udp6(struct frame *frame, const struct mac *to, const struct mac *from, const char *source,
                const char *destination, unsigned source_port, unsigned destination_port);
/* A message of neighbour discovery (RFC 4861): router advertisement 134, neighbour solicitation 135,
 * advertisement 136, redirect 137; the target is NULL where there is none. */
void frame_discovery(struct frame *frame, const struct mac *from, const char *source, const char *destination,
                     unsigned type, const char *target);

void frame_send(const struct frame *frame, int fd);
/* Whether the frame, sent on one nic, comes out of another; other frames are dropped. Decided by a harmless
 * frame of a third party that follows it (`herald`, which may be the sender itself). */
bool frame_passes_heralded(const struct frame *frame, const struct nic *from, const struct nic *to,
                           const struct nic *herald);
bool frame_passes(const struct frame *frame, const struct nic *from, const struct nic *to);
