/*
 * pump: makes a network namespace a guest at the host's own speed. The namespace gets a tap, and its frames are moved,
 * vnet headers included, to a tap on the network that is measured, and back: a thread for each direction, and what a VMM
 * with virtio-net does, without the VM. The network is one of Berth's, or a bridge that somebody made by hand.
 *
 *     pump NAMESPACE berth SOCKET NETWORK NAME [UID]
 *     pump NAMESPACE bridge BRIDGE-NAMESPACE BRIDGE DEVICE MAC ADDRESS MASK
 *
 * The guest's tap is made by root; with UID the rest is done as that user. Says "ready ADDRESS" when frames can go.
 */
#include <berth/berth.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arguments.h"
#include "guest-tap.h"

#define FRAME_MAX (12 + 65550) /* the vnet header, and the longest frame with offloads */
#define GUEST_DEVICE "net0"
#define MTU 1500

struct direction {
        int from, to; /* taps, non-blocking */
};

/* Until the tap it reads is gone, which ends the program. */
static void *pump(void *data) {
        const struct direction *direction = data;
        char *frame = malloc(FRAME_MAX);

        if (!frame)
                errx(EXIT_FAILURE, "out of memory");
        for (;;) {
                ssize_t n = read(direction->from, frame, FRAME_MAX);

                if (n < 0 && errno == EAGAIN) {
                        struct pollfd p = { .fd = direction->from, .events = POLLIN };
                        if (poll(&p, 1, -1) < 0 && errno != EINTR)
                                err(EXIT_FAILURE, "poll");
                        if (p.revents & (POLLERR | POLLHUP))
                                errx(EXIT_FAILURE, "the tap is gone");
                } else if (n < 0 && errno != EINTR) {
                        err(EXIT_FAILURE, "read");
                } else if (n > 0 && write(direction->to, frame, (size_t)n) < 0 && errno == EBADFD) {
                        /* Others are this frame's failures, and the network's loss. */
                        err(EXIT_FAILURE, "write");
                }
        }
        return NULL;
}

/* The near tap becomes the guest whom the network knows by `facts`. */
static int open_guest(const char *namespace, const char *mac, const char *address, const char *mask) {
        struct guest_tap tap = { .namespace = namespace, .device = GUEST_DEVICE, .mtu = MTU };
        struct error error = ERROR_INIT;

        if (mac_parse(mac, &tap.mac) < 0 || ipv4_parse(address, &tap.address) < 0 || ipv4_parse(mask, &tap.mask) < 0)
                errx(EXIT_FAILURE, "%s, %s or %s is not well formed", mac, address, mask);
        int fd = guest_tap_open(&tap, &error);
        if (fd < 0)
                errx(EXIT_FAILURE, "%s", error.text);
        printf("ready %s\n", address);
        return fd;
}

/* The library's objects stay until the end of the process, for the lease is theirs. */
static struct direction join_berth(const char *namespace, char **words, uid_t uid) {
        struct berth_interface_options options = { .size = sizeof(options), .name = words[2] };
        struct berth_network *network;
        struct berth_interface *interface;

        /* A user's broker serves that user alone; root is needed again for the guest's side. */
        if (seteuid(uid) < 0)
                err(EXIT_FAILURE, "seteuid");
        struct berth *berth = argument_connect(words[0]);
        if (berth_acquire(berth, words[1], &network) < 0)
                errx(EXIT_FAILURE, "acquire: %s", berth_error(berth));
        if (berth_network_start(network, &options, &interface) < 0)
                errx(EXIT_FAILURE, "start: %s", berth_network_error(network));
        if (seteuid(getuid()) < 0)
                err(EXIT_FAILURE, "seteuid");

        const struct berth_interface_facts *facts = berth_interface_get_facts(interface);
        return (struct direction){
                .from = open_guest(namespace, facts->mac, facts->address, berth_network_get_facts(network)->mask),
                .to = berth_interface_get_fd(interface, 0),
        };
}

static struct direction join_bridge(const char *namespace, char **words) {
        struct guest_tap far = { .namespace = words[0], .bridge = words[1], .device = words[2], .mtu = MTU };
        struct error error = ERROR_INIT;

        int fd = guest_tap_open(&far, &error);
        if (fd < 0)
                errx(EXIT_FAILURE, "%s", error.text);
        return (struct direction){ .from = open_guest(namespace, words[3], words[4], words[5]), .to = fd };
}

int main(int argc, char **argv) {
        struct direction out, in;
        pthread_t thread;

        if ((argc == 6 || argc == 7) && strcmp(argv[2], "berth") == 0)
                out = join_berth(argv[1], argv + 3, argc == 7 ? argument_number("UID", argv[6], UINT32_MAX) : getuid());
        else if (argc == 9 && strcmp(argv[2], "bridge") == 0)
                out = join_bridge(argv[1], argv + 3);
        else
                errx(EXIT_FAILURE, "usage: pump NAMESPACE berth SOCKET NETWORK NAME [UID]\n"
                                   "       pump NAMESPACE bridge NAMESPACE BRIDGE DEVICE MAC ADDRESS MASK");
        fflush(stdout);
        in = (struct direction){ .from = out.to, .to = out.from };
        if (pthread_create(&thread, NULL, pump, &in) != 0)
                errx(EXIT_FAILURE, "no thread");
        pump(&out);
}
