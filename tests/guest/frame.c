/* frame-send, frame-listen: raw Ethernet frames as hexadecimal text, for tests of what a network lets
 * through. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "probe.h"

#define FRAME_MAX 65550 /* bytes: the largest IP packet and its Ethernet header */

static int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

/* Pairs of digits, with ':' and ' ' ignored between them; the number of bytes. */
static size_t parse_hex(const char *s, uint8_t *bytes, size_t max) {
        size_t n = 0;

        while (*s) {
                if (*s == ':' || *s == ' ') {
                        s++;
                        continue;
                }
                int high = hex_digit(s[0]), low = high < 0 ? -1 : hex_digit(s[1]);
                if (low < 0)
                        die("not hexadecimal at: %s", s);
                if (n == max)
                        die("longer than %zu bytes", max);
                bytes[n++] = (uint8_t)(high << 4 | low);
                s += 2;
        }
        return n;
}

/* A packet socket bound to the device, for frames of this protocol (host byte order; 0: to send only). */
static int open_device(const char *device, uint16_t protocol) {
        struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(protocol) };

        address.sll_ifindex = (int)if_nametoindex(device);
        if (address.sll_ifindex == 0)
                die_errno("%s", device);
        int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
        if (fd < 0)
                die_errno("packet socket");
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                die_errno("bind to %s", device);
        return fd;
}

int frame_send_main(int argc, char **argv) {
        static uint8_t frame[FRAME_MAX];

        if (argc < 3 || argc > 4)
                die("frame-send DEV HEX [COUNT]");
        size_t size = parse_hex(argv[2], frame, sizeof(frame));
        uint64_t count = argc > 3 ? parse_number(argv[3], 1000000) : 1;
        if (size < ETH_HLEN)
                die("shorter than an Ethernet header");
        int fd = open_device(argv[1], 0);
        for (uint64_t i = 0; i < count; i++)
                if (send(fd, frame, size, 0) < 0)
                        die_errno("send %zu bytes on %s", size, argv[1]);
        return 0;
}

static void print_frame(const uint8_t *frame, size_t size) {
        fputs("frame: ", stdout);
        for (size_t i = 0; i < size; i++)
                printf("%02x", frame[i]);
        putchar('\n');
}

/*
 * Prints "frame: listening" when no later frame can be missed, each frame that contains HEX, and a count at
 * the end, which is after SECONDS or the COUNTth match. Status 0 when something matched. What the device
 * itself sends does not count; what it receives counts whoever it is addressed to.
 */
int frame_listen_main(int argc, char **argv) {
        static uint8_t frame[FRAME_MAX], pattern[2048];

        if (argc < 4 || argc > 5)
                die("frame-listen DEV HEX SECONDS [COUNT]");
        size_t pattern_size = parse_hex(argv[2], pattern, sizeof(pattern));
        uint64_t limit = argc > 4 ? parse_number(argv[4], UINT32_MAX) : UINT64_MAX;
        uint64_t seen = 0, matched = 0;
        int fd = open_device(argv[1], ETH_P_ALL);
        struct packet_mreq membership = { .mr_ifindex = (int)if_nametoindex(argv[1]),
                                          .mr_type = PACKET_MR_PROMISC };
        if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof(membership)) < 0)
                die_errno("promiscuous mode on %s", argv[1]);
        uint64_t deadline = now_ms() + parse_number(argv[3], 86400) * 1000;
        puts("frame: listening");

        for (uint64_t now; matched < limit && (now = now_ms()) < deadline;) {
                struct pollfd p = { .fd = fd, .events = POLLIN };
                struct sockaddr_ll from;
                socklen_t from_size = sizeof(from);

                if (poll(&p, 1, (int)(deadline - now)) <= 0)
                        continue;
                ssize_t n = recvfrom(fd, frame, sizeof(frame), 0, (struct sockaddr *)&from, &from_size);
                if (n < 0 && errno != EINTR)
                        die_errno("receive on %s", argv[1]);
                if (n < 0 || from.sll_pkttype == PACKET_OUTGOING)
                        continue;
                seen++;
                if (!memmem(frame, (size_t)n, pattern, pattern_size))
                        continue;
                matched++;
                print_frame(frame, (size_t)n);
        }
        printf("frame: %llu matched of %llu\n", (unsigned long long)matched, (unsigned long long)seen);
        return matched > 0 ? 0 : 1;
}
