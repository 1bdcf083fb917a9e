#include "dhcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "loop/loop.h"

#define AGAIN 20000U /* microseconds between two discovers */
#define HEADER_MAX 12U
#define FRAME_MAX 65550U
#define XID 0x62657274U
#define COOKIE 0x63825363U /* RFC 2131, section 3 */
#define OPTION_MESSAGE_TYPE 53
#define DISCOVER 1
#define OPTION_END 255

/* RFC 2131, section 2, with the one option that a discover needs. */
struct bootp {
        uint8_t op, htype, hlen, hops;
        uint32_t xid;
        uint16_t secs, flags;
        uint32_t ciaddr, yiaddr, siaddr, giaddr;
        uint8_t chaddr[16], sname[64], file[128];
        uint32_t cookie;
        uint8_t options[4];
} __attribute__((packed));

struct frame {
        struct ether_header ethernet;
        struct iphdr ip;
        struct udphdr udp;
        struct bootp bootp;
} __attribute__((packed));

/* RFC 1071. */
static uint16_t checksum(const void *data, size_t size) {
        const uint8_t *bytes = data;
        uint32_t sum = 0;

        for (size_t i = 0; i + 1 < size; i += 2)
                sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return htons((uint16_t)~sum);
}

static struct frame make_discover(const struct mac *mac) {
        struct frame f = {
                .ethernet = { .ether_dhost = "\xff\xff\xff\xff\xff\xff", .ether_type = htons(ETHERTYPE_IP) },
                .ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP, .daddr = INADDR_BROADCAST },
                .bootp = { .op = 1, .htype = 1, .hlen = 6, .xid = htonl(XID), .flags = htons(0x8000),
                           .cookie = htonl(COOKIE), .options = { OPTION_MESSAGE_TYPE, 1, DISCOVER, OPTION_END } },
        };

        memcpy(f.ethernet.ether_shost, mac->octets, sizeof(mac->octets));
        memcpy(f.bootp.chaddr, mac->octets, sizeof(mac->octets));
        f.ip.tot_len = htons(sizeof(f.ip) + sizeof(f.udp) + sizeof(f.bootp));
        f.ip.check = checksum(&f.ip, sizeof(f.ip));
        f.udp.source = htons(68);
        f.udp.dest = htons(67);
        f.udp.len = htons(sizeof(f.udp) + sizeof(f.bootp)); /* no checksum: IPv4 allows it */
        return f;
}

static bool is_offer(const uint8_t *data, size_t size) {
        struct frame f;

        if (size < sizeof(f))
                return false;
        memcpy(&f, data, sizeof(f));
        return f.ethernet.ether_type == htons(ETHERTYPE_IP) && f.ip.protocol == IPPROTO_UDP &&
               f.udp.dest == htons(68) && f.bootp.op == 2 && f.bootp.xid == htonl(XID) && f.bootp.yiaddr != 0;
}

int dhcp_await_offer(int tap, uint32_t header, const struct mac *mac, uint64_t timeout_us) {
        static uint8_t in[HEADER_MAX + FRAME_MAX];
        uint8_t out[HEADER_MAX + sizeof(struct frame)] = {};
        struct frame discover = make_discover(mac);
        uint64_t now = loop_now(), end = now + timeout_us, next = now;

        if (header > HEADER_MAX)
                return -EINVAL;
        memcpy(out + header, &discover, sizeof(discover));
        for (; now < end; now = loop_now()) {
                if (now >= next) {
                        if (write(tap, out, header + sizeof(discover)) < 0)
                                return -errno;
                        next += AGAIN;
                }
                struct pollfd p = { .fd = tap, .events = POLLIN };
                if (poll(&p, 1, (int)(AGAIN / 1000)) < 0 && errno != EINTR)
                        return -errno;
                ssize_t n = read(tap, in, sizeof(in));
                if (n < 0 && errno != EAGAIN && errno != EINTR)
                        return -errno;
                if (n > (ssize_t)header && is_offer(in + header, (size_t)n - header))
                        return 0;
        }
        return -ETIMEDOUT;
}
