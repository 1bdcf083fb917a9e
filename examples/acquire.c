/*
 * Acquires a network, starts an interface on it, prints what it got, and shows the first frames that arrive.
 *
 *     cc -std=c99 acquire.c $(pkg-config --cflags --libs berth) -o acquire
 *
 * It needs no privilege, and no VM: this program is the guest here. A real one would give the file descriptor
 * to its virtio-net device instead of reading it.
 */
#define _POSIX_C_SOURCE 200809L

#include <berth/berth.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void usage(FILE *out) {
        fprintf(out, "Usage: acquire [NETWORK [NAME [FRAMES]]]\n\n"
                     "Acquires NETWORK (shared), starts an interface called NAME (example), and\n"
                     "prints the first FRAMES (5) that arrive on it.\n");
}

static const char *or_none(const char *s) {
        return s ? s : "none";
}

static void print_facts(const struct berth_network_facts *network,
                        const struct berth_interface_facts *interface) {
        printf("network %s (%s): subnet %s mask %s, gateway %s, IPv6 %s/%u\n", network->name, network->mode,
               network->subnet, network->mask, network->gateway, or_none(network->ipv6_prefix),
               (unsigned)network->ipv6_prefix_length);
        printf("interface %s: name %s, MAC %s, address %s, IPv6 %s, MTU %u\n", interface->port,
               or_none(interface->name), interface->mac, or_none(interface->address),
               or_none(interface->ipv6_address), (unsigned)interface->mtu);
        fflush(stdout);
}

/* Destination, source and type of an Ethernet frame. */
static void print_frame(const unsigned char *frame, size_t size) {
        if (size < 14)
                return;
        for (int i = 0; i < 12; i++)
                printf("%02x%s", frame[i], i == 5 ? " <- " : i == 11 ? "" : ":");
        printf(" type %02x%02x, %lu bytes\n", frame[12], frame[13], (unsigned long)size);
        fflush(stdout);
}

/* Waits for frames, and for the end of the network, as an event loop would. */
static int read_frames(struct berth_network *network, struct berth_interface *interface, long frames) {
        static unsigned char buffer[65550 + 64]; /* the longest with offloads, behind its vnet header */
        size_t header = berth_interface_get_facts(interface)->vnet_header_size;

        while (frames > 0) {
                struct pollfd fds[2] = {
                        { .fd = berth_interface_get_fd(interface, 0), .events = POLLIN },
                        { .fd = berth_network_get_fd(network),
                          .events = (short)berth_network_get_events(network) },
                };
                const struct berth_event *event;
                ssize_t n;

                if (poll(fds, 2, -1) < 0 && errno != EINTR)
                        return -errno;
                if (fds[1].revents)
                        berth_network_dispatch(network);
                while ((event = berth_network_pop_event(network)))
                        if (event->type == BERTH_EVENT_NETWORK_LOST) {
                                fprintf(stderr, "acquire: the network is gone: %s\n", event->message);
                                return event->error;
                        }
                n = read(fds[0].fd, buffer, sizeof(buffer));
                if (n < 0 && errno != EAGAIN && errno != EINTR)
                        return -errno;
                if (n > (ssize_t)header) {
                        print_frame(buffer + header, (size_t)n - header);
                        frames--;
                }
        }
        return 0;
}

int main(int argc, char **argv) {
        const char *name = argc > 1 ? argv[1] : "shared";
        struct berth_interface_options options;
        struct berth_interface *interface = NULL;
        struct berth_network *network = NULL;
        struct berth *berth = NULL;
        int r;

        if (argc > 4 || (argc > 1 && argv[1][0] == '-')) {
                int asked = argc == 2 && strcmp(argv[1], "--help") == 0;

                usage(asked ? stdout : stderr);
                return asked ? EXIT_SUCCESS : EXIT_FAILURE;
        }
        memset(&options, 0, sizeof(options));
        options.size = sizeof(options);
        options.name = argc > 2 ? argv[2] : "example";

        r = berth_new(&berth);
        if (r < 0) {
                fprintf(stderr, "acquire: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }
        r = berth_connect(berth, NULL, 0);
        if (r == 0)
                r = berth_acquire(berth, name, &network);
        if (r < 0) {
                fprintf(stderr, "acquire: %s\n", berth_error(berth));
        } else {
                r = berth_network_start(network, &options, &interface);
                if (r < 0)
                        fprintf(stderr, "acquire: %s\n", berth_network_error(network));
        }
        if (r == 0) {
                print_facts(berth_network_get_facts(network), berth_interface_get_facts(interface));
                r = read_frames(network, interface, argc > 3 ? atol(argv[3]) : 5);
        }
        berth_interface_free(interface);
        berth_network_free(network);
        berth_free(berth);
        return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
