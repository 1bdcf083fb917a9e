/* answer: says one line to whoever sends a datagram. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "endpoint.h"
#include "probe.h"

int answer_main(int argc, char **argv) {
        struct sockaddr_in address = { .sin_family = AF_INET };
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (argc != 3)
                die("answer PORT TEXT");
        address.sin_port = htons((uint16_t)parse_number(argv[1], UINT16_MAX));
        if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                die_errno("port %s", argv[1]);
        printf("answer: listening on port %s\n", argv[1]);
        for (;;) {
                struct sockaddr_in peer;
                socklen_t size = sizeof(peer);
                char byte;

                /* What a datagram says does not matter, nor whether its sender is still there. */
                if (recvfrom(fd, &byte, 1, 0, (struct sockaddr *)&peer, &size) < 0) {
                        if (errno == EINTR || errno == ECONNREFUSED)
                                continue;
                        die_errno("recvfrom");
                }
                sendto(fd, argv[2], strlen(argv[2]), 0, (struct sockaddr *)&peer, size);
        }
}
