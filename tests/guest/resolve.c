/* resolve: a name's addresses by the system's resolver, search domains included, one a line. */
#define _GNU_SOURCE
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "probe.h"

int resolve_main(int argc, char **argv) {
        struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM }, *list;
        char text[NI_MAXHOST];

        if (argc == 3 && strcmp(argv[1], "-4") == 0)
                hints.ai_family = AF_INET;
        else if (argc == 3 && strcmp(argv[1], "-6") == 0)
                hints.ai_family = AF_INET6;
        else if (argc != 2)
                die("resolve [-4|-6] NAME");

        int r = getaddrinfo(argv[argc - 1], NULL, &hints, &list);
        if (r != 0)
                die("%s: %s", argv[argc - 1], gai_strerror(r));
        for (struct addrinfo *ai = list; ai; ai = ai->ai_next)
                if (getnameinfo(ai->ai_addr, ai->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) ==
                    0)
                        puts(text);
        freeaddrinfo(list);
        return 0;
}
