/*
 * crowd SOCKET NETWORK CLIENTS INTERFACES: CLIENTS connections that each hold NETWORK, and INTERFACES on it, dealt out
 * among them. Says "ready" when all of it is there, and holds it until it is killed.
 */
#include <berth/berth.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "arguments.h"

#define CLIENTS_MAX 500
#define INTERFACES_MAX 250

int main(int argc, char **argv) {
        static struct berth_network *networks[CLIENTS_MAX];

        if (argc != 5)
                errx(EXIT_FAILURE, "usage: crowd SOCKET NETWORK CLIENTS INTERFACES");
        unsigned clients = argument_number("CLIENTS", argv[3], CLIENTS_MAX);
        unsigned interfaces = argument_number("INTERFACES", argv[4], INTERFACES_MAX);

        /* Nothing is freed: the end of this process is the end of all it holds, and that is how it is ended. */
        for (unsigned i = 0; i < clients; i++) {
                struct berth *berth = argument_connect(argv[1]);

                if (berth_acquire(berth, argv[2], &networks[i]) < 0)
                        errx(EXIT_FAILURE, "client %u: %s", i, berth_error(berth));
        }
        for (unsigned i = 0; i < interfaces; i++) {
                struct berth_interface *interface;
                struct berth_network *network = networks[i % clients];

                if (berth_network_start(network, NULL, &interface) < 0)
                        errx(EXIT_FAILURE, "interface %u: %s", i, berth_network_error(network));
        }
        puts("ready");
        fflush(stdout);
        for (;;)
                pause();
}
