/*
 * A plain rtnetlink dump (rtnetlink(7)): libnl-route would be half of the broker's memory for this one
 * question. The kernel answers a dump on the same call chain, so the blocking socket does not wait for
 * anybody.
 */
#include "broker/routes.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"

#define DUMP_BUFFER_SIZE 32768 /* the kernel's own largest dump chunk */

struct dump {
        const struct prefix *interest;
        bool skip_own;
        struct routes routes;
};

static void dump_deinit(struct dump *dump) {
        routes_deinit(&dump->routes);
}

static int dump_request(int fd, int family, struct error *error) {
        struct {
                struct nlmsghdr header;
                struct rtmsg route;
        } request = {
                .header = {
                        .nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
                        .nlmsg_type = RTM_GETROUTE,
                        .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                },
                .route.rtm_family = (unsigned char)family,
        };

        if (send(fd, &request, sizeof(request), 0) < 0)
                return error_errno(error, -errno, "cannot ask for the host's routes");
        return 0;
}

static bool leads_somewhere(const struct rtmsg *route) {
        return route->rtm_type != RTN_UNREACHABLE && route->rtm_type != RTN_BLACKHOLE &&
               route->rtm_type != RTN_PROHIBIT && route->rtm_type != RTN_THROW;
}

static int add_route(struct dump *dump, const struct prefix *prefix, const char *device) {
        struct routes *routes = &dump->routes;
        struct route *entries = reallocarray(routes->entries, routes->n_entries + 1, sizeof(*entries));

        if (!entries)
                return -ENOMEM;
        routes->entries = entries;
        entries[routes->n_entries] = (struct route){ .prefix = *prefix };
        strcpy(entries[routes->n_entries].device, device);
        routes->n_entries++;
        return 0;
}

static int take_route(struct dump *dump, const struct nlmsghdr *header) {
        const struct rtmsg *route = NLMSG_DATA(header);
        unsigned shortest = route->rtm_family == AF_INET ? 8 : 3;
        char device[IF_NAMESIZE] = "";
        struct prefix prefix = { .family = AF_UNSPEC };

        if (!leads_somewhere(route) || (route->rtm_flags & RTM_F_CLONED) || route->rtm_dst_len < shortest)
                return 0;

        size_t left = RTM_PAYLOAD(header);
        for (const struct rtattr *a = RTM_RTA(route); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
                if (a->rta_type == RTA_DST && route->rtm_family == AF_INET && RTA_PAYLOAD(a) == 4) {
                        uint32_t address;

                        memcpy(&address, RTA_DATA(a), 4);
                        prefix = prefix_ipv4(ntohl(address), route->rtm_dst_len);
                } else if (a->rta_type == RTA_DST && route->rtm_family == AF_INET6 && RTA_PAYLOAD(a) == 16) {
                        struct in6_addr address;

                        memcpy(&address, RTA_DATA(a), 16);
                        prefix = prefix_ipv6(&address, route->rtm_dst_len);
                } else if (a->rta_type == RTA_OIF && RTA_PAYLOAD(a) == 4) {
                        unsigned index;

                        memcpy(&index, RTA_DATA(a), 4);
                        if (!if_indextoname(index, device))
                                device[0] = 0;
                }
        }

        if (!prefix_overlaps(&prefix, dump->interest) || (dump->skip_own && strncmp(device, "berth", 5) == 0))
                return 0;
        return add_route(dump, &prefix, device);
}

/* 1 when the dump is complete, 0 when more follows, or -errno. */
static int take_chunk(struct dump *dump, const char *buffer, size_t size, struct error *error) {
        for (const struct nlmsghdr *h = (const void *)buffer; NLMSG_OK(h, size); h = NLMSG_NEXT(h, size)) {
                if (h->nlmsg_type == NLMSG_DONE)
                        return 1;
                if (h->nlmsg_type == NLMSG_ERROR) {
                        const struct nlmsgerr *e = NLMSG_DATA(h);

                        return error_errno(error, e->error ? e->error : -EPROTO,
                                           "cannot read the host's routes");
                }
                if (h->nlmsg_type == RTM_NEWROUTE && h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct rtmsg))) {
                        int r = take_route(dump, h);
                        if (r < 0)
                                return error_errno(error, r, "cannot keep the host's routes");
                }
        }
        return 0;
}

int routes_read(const struct prefix *interest, bool skip_own, struct routes *ret, struct error *error) {
        _cleanup_(dump_deinit) struct dump dump = { .interest = interest, .skip_own = skip_own };
        _cleanup_free_ char *buffer = malloc(DUMP_BUFFER_SIZE);
        _cleanup_fd_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
        int r;

        if (fd < 0)
                return error_errno(error, -errno, "cannot open a netlink socket");
        if (!buffer)
                return -ENOMEM;
        r = dump_request(fd, interest->family, error);
        while (r == 0) {
                ssize_t n = recv(fd, buffer, DUMP_BUFFER_SIZE, 0);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(error, -errno, "cannot read the host's routes");
                r = take_chunk(&dump, buffer, (size_t)n, error);
        }
        if (r < 0)
                return r;
        *ret = dump.routes;
        dump.routes = ROUTES_INIT;
        return 0;
}

void routes_deinit(struct routes *routes) {
        free(routes->entries);
        *routes = ROUTES_INIT;
}
