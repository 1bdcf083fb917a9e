/*
 * birth SOCKET NETWORK COUNT: COUNT times makes a network that is not there, from the request to acquire it until its
 * first interface is up, then waits for the offer to a DHCP discover on that interface, and has the network removed.
 * Prints two times a line, in milliseconds from the request: interface up, and DHCP answered.
 */
#include <berth/berth.h>
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "dhcp.h"
#include "loop/loop.h"

#define COUNT_MAX 10000
#define OFFER_TIMEOUT 5000000U /* microseconds */

static void measure(struct berth *berth, const char *name) {
        struct berth_network *network = NULL;
        struct berth_interface *interface = NULL;
        struct mac mac;
        int r;

        uint64_t start = loop_now();
        if (berth_acquire(berth, name, &network) < 0)
                errx(EXIT_FAILURE, "acquire: %s", berth_error(berth));
        if (berth_network_start(network, NULL, &interface) < 0)
                errx(EXIT_FAILURE, "start: %s", berth_network_error(network));
        uint64_t up = loop_now();

        const struct berth_interface_facts *facts = berth_interface_get_facts(interface);
        if (mac_parse(facts->mac, &mac) < 0)
                errx(EXIT_FAILURE, "\"%s\" is no MAC", facts->mac);
        r = dhcp_await_offer(berth_interface_get_fd(interface, 0), facts->vnet_header_size, &mac, OFFER_TIMEOUT);
        uint64_t offered = loop_now();
        if (r < 0)
                errx(EXIT_FAILURE, "DHCP: %s", strerror(-r));

        printf("%.3f %.3f\n", (double)(up - start) / 1e3, (double)(offered - start) / 1e3);
        fflush(stdout);
        berth_interface_free(interface);
        berth_network_free(network);
}

/* So that the next round begins with nothing. The lease ends with its handle, so there may be none to release. */
static void discard(struct berth *berth, const char *name) {
        int r = berth_release(berth, name);

        if (r < 0 && r != -ENOENT)
                errx(EXIT_FAILURE, "release: %s", berth_error(berth));
        r = berth_remove(berth, name);
        if (r < 0)
                errx(EXIT_FAILURE, "remove: %s", berth_error(berth));
}

int main(int argc, char **argv) {
        if (argc != 4)
                errx(EXIT_FAILURE, "usage: birth SOCKET NETWORK COUNT");
        unsigned count = argument_number("COUNT", argv[3], COUNT_MAX);
        struct berth *berth = argument_connect(argv[1]);

        for (unsigned i = 0; i < count; i++) {
                measure(berth, argv[2]);
                discard(berth, argv[2]);
        }
        berth_free(berth);
        return EXIT_SUCCESS;
}
