#include "network/host-addresses.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_address(int family, const void *address, void *data) {
        FILE *f = data;
        char text[INET6_ADDRSTRLEN];
        struct in_addr v4;

        if (family == AF_INET) {
                memcpy(&v4, address, sizeof(v4));
                uint32_t host_order = ntohl(v4.s_addr);
                if (host_order >> 24 == 127 || host_order >> 16 == 0xa9fe)
                        return;
        } else if (IN6_IS_ADDR_LOOPBACK((struct in6_addr *)address) || IN6_IS_ADDR_LINKLOCAL((struct in6_addr *)address))
                return;
        fprintf(f, "%s%s", ftell(f) > 0 ? ", " : "", inet_ntop(family, address, text, sizeof(text)));
}

static int list(struct links *links, int family, char **ret, struct error *error) {
        char *text = NULL;
        size_t size;

        FILE *f = open_memstream(&text, &size);
        if (!f)
                return -ENOMEM;
        int r = links_dump_addresses(links, family, print_address, f, error);
        if (fclose(f) != 0 && r >= 0)
                r = -ENOMEM;
        if (r < 0) {
                free(text);
                return r;
        }
        *ret = text;
        return 0;
}

int host_addresses_list(struct links *host_links, char **ret_list4, char **ret_list6, struct error *error) {
        char *list4, *list6;

        int r = list(host_links, AF_INET, &list4, error);
        if (r < 0)
                return r;
        r = list(host_links, AF_INET6, &list6, error);
        if (r < 0) {
                free(list4);
                return r;
        }
        *ret_list4 = list4;
        *ret_list6 = list6;
        return 0;
}
