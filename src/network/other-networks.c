#include "network/other-networks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/text.h"

/* What the host's ends of the system's networks are called, each with a number behind (uplink-veth.c). */
#define DEVICE_PREFIX "berth"

struct listing {
        FILE *f;
        int *devices; /* indices, n of them */
        size_t n;
        bool failed; /* memory ran short */
};

static void take_device(const struct link *link, void *data) {
        struct listing *listing = data;

        if (!text_starts_with(link->name, DEVICE_PREFIX))
                return;
        int *devices = reallocarray(listing->devices, listing->n + 1, sizeof(*devices));
        if (!devices) {
                listing->failed = true;
                return;
        }
        listing->devices = devices;
        devices[listing->n++] = link->index;
}

static void print_route(int family, const void *destination, unsigned length, int device, void *data) {
        struct listing *listing = data;
        char text[INET6_ADDRSTRLEN];

        /* Each device has its own link-local prefix, which is refused as such. */
        if (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *)destination))
                return;
        for (size_t i = 0; i < listing->n; i++)
                if (listing->devices[i] == device) {
                        fprintf(listing->f, "%s%s/%u", ftell(listing->f) > 0 ? ", " : "",
                                inet_ntop(family, destination, text, sizeof(text)), length);
                        return;
                }
}

static int list_family(struct links *links, int family, struct listing *listing, char **ret, struct error *error) {
        _cleanup_free_ char *text = NULL;
        size_t size;

        listing->f = open_memstream(&text, &size);
        if (!listing->f)
                return -ENOMEM;
        int r = links_dump_routes(links, family, print_route, listing, error);
        if (fclose(listing->f) != 0 && r >= 0)
                r = -ENOMEM;
        if (r >= 0)
                *ret = steal_ptr(text);
        return r;
}

int other_networks_list(struct links *host_links, char **ret_list4, char **ret_list6, struct error *error) {
        _cleanup_free_ char *list4 = NULL, *list6 = NULL;
        struct listing listing = {};

        int r = links_dump(host_links, take_device, &listing, error);
        if (r >= 0 && listing.failed)
                r = -ENOMEM;
        if (r >= 0)
                r = list_family(host_links, AF_INET, &listing, &list4, error);
        if (r >= 0)
                r = list_family(host_links, AF_INET6, &listing, &list6, error);
        free(listing.devices);
        if (r < 0)
                return r;
        *ret_list4 = steal_ptr(list4);
        *ret_list6 = steal_ptr(list6);
        return 0;
}
