#include "network/links.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/handlers.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "base/memory.h"

/*
 * Messages are put together with libnl's core alone: its route library keeps caches and objects that cost more
 * memory than all the rest of this process, and here each request is a handful of attributes.
 */
struct links {
        struct nl_sock *socket;
        int ioctl; /* a datagram socket of the same namespace, for netdevice(7) */
};

static void msg_freep(struct nl_msg **msg) {
        nlmsg_free(*msg);
}
#define _cleanup_msg_ _cleanup_(msg_freep)

/* libnl's error to a negative errno. */
static int nl_code(int r) {
        switch (-r) {
        case NLE_SUCCESS:
                return 0;
        case NLE_EXIST:
                return -EEXIST;
        case NLE_NODEV:
        case NLE_OBJ_NOTFOUND:
                return -ENODEV;
        case NLE_PERM:
        case NLE_NOACCESS:
                return -EPERM;
        case NLE_NOMEM:
                return -ENOMEM;
        case NLE_OPNOTSUPP:
                return -EOPNOTSUPP;
        case NLE_BUSY:
                return -EBUSY;
        default:
                return -EINVAL;
        }
}

int links_new(struct links **ret, struct error *error) {
        struct links *links = calloc(1, sizeof(*links));
        if (!links)
                return -ENOMEM;

        links->ioctl = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        links->socket = nl_socket_alloc();
        int r = links->socket ? nl_connect(links->socket, NETLINK_ROUTE) : -NLE_NOMEM;
        if (r < 0 || links->ioctl < 0) {
                r = error_set(error, r < 0 ? nl_code(r) : -errno, "opening a route socket: %s",
                              r < 0 ? nl_geterror(r) : strerror(errno));
                links_free(links);
                return r;
        }
        *ret = links;
        return 0;
}

struct links *links_free(struct links *links) {
        if (!links)
                return NULL;
        if (links->socket)
                nl_socket_free(links->socket);
        fd_close(links->ioctl);
        free(links);
        return NULL;
}

static struct nl_msg *message_new(int type, int flags, const void *header, size_t size) {
        struct nl_msg *msg = nlmsg_alloc_simple(type, flags);

        if (msg && nlmsg_append(msg, (void *)header, size, NLMSG_ALIGNTO) < 0) {
                nlmsg_free(msg);
                return NULL;
        }
        return msg;
}

/* Sends and waits for the kernel's answer. What exists already is success. */
static int transact(struct links *links, struct nl_msg *msg, struct error *error, const char *what, const char *name) {
        int r = nl_send_auto(links->socket, msg);
        if (r >= 0)
                r = nl_wait_for_ack(links->socket);
        if (r < 0 && r != -NLE_EXIST)
                return error_set(error, nl_code(r), "%s %s: %s", what, name, nl_geterror(r));
        return 0;
}

static int request(struct links *links, unsigned long number, const char *name, struct ifreq *ifr) {
        strncpy(ifr->ifr_name, name, sizeof(ifr->ifr_name) - 1);
        return ioctl(links->ioctl, number, ifr) < 0 ? -errno : 0;
}

int links_find(struct links *links, const char *name) {
        struct ifreq ifr = {};
        int r = request(links, SIOCGIFINDEX, name, &ifr);

        return r < 0 ? r : ifr.ifr_ifindex;
}

static int find(struct links *links, const char *name, struct error *error) {
        int r = links_find(links, name);

        return r < 0 ? error_errno(error, r, "device %s", name) : r;
}

typedef int (*message_fn)(struct nl_msg *msg, void *data);

/* Asks for all of a kind and gives each answer to fn. */
static int dump(struct links *links, int type, const void *header, size_t size, message_fn fn, void *data,
                struct error *error) {
        _cleanup_msg_ struct nl_msg *msg = message_new(type, NLM_F_DUMP, header, size);
        struct nl_cb *callbacks = nl_cb_alloc(NL_CB_DEFAULT);

        int r = -NLE_NOMEM;
        if (msg && callbacks) {
                nl_cb_set(callbacks, NL_CB_VALID, NL_CB_CUSTOM, fn, data);
                r = nl_send_auto(links->socket, msg);
                if (r >= 0)
                        r = nl_recvmsgs(links->socket, callbacks);
        }
        nl_cb_put(callbacks);
        return r < 0 ? error_set(error, nl_code(r), "asking for devices, addresses or routes: %s", nl_geterror(r)) : 0;
}

struct link_dump {
        links_link_fn fn;
        void *data;
};

static int take_link(struct nl_msg *msg, void *data) {
        const struct link_dump *dump = data;
        const struct ifinfomsg *info = nlmsg_data(nlmsg_hdr(msg));
        struct nlattr *attributes[IFLA_MAX + 1];
        struct link link = {};

        if (nlmsg_hdr(msg)->nlmsg_type != RTM_NEWLINK ||
            nlmsg_parse(nlmsg_hdr(msg), sizeof(*info), attributes, IFLA_MAX, NULL) < 0 || !attributes[IFLA_IFNAME])
                return NL_OK;

        link.index = info->ifi_index;
        link.up = info->ifi_flags & IFF_UP;
        nla_strlcpy(link.name, attributes[IFLA_IFNAME], sizeof(link.name));
        if (attributes[IFLA_IFALIAS])
                nla_strlcpy(link.alias, attributes[IFLA_IFALIAS], sizeof(link.alias));
        if (attributes[IFLA_ADDRESS] && nla_len(attributes[IFLA_ADDRESS]) == sizeof(link.mac))
                memcpy(&link.mac, nla_data(attributes[IFLA_ADDRESS]), sizeof(link.mac));
        if (attributes[IFLA_MASTER])
                link.master = (int)nla_get_u32(attributes[IFLA_MASTER]);
        if (attributes[IFLA_STATS64]) {
                struct rtnl_link_stats64 stats = {};
                nla_memcpy(&stats, attributes[IFLA_STATS64], sizeof(stats));
                link.rx_packets = stats.rx_packets;
                link.rx_bytes = stats.rx_bytes;
                link.rx_dropped = stats.rx_dropped;
                link.tx_packets = stats.tx_packets;
                link.tx_bytes = stats.tx_bytes;
                link.tx_dropped = stats.tx_dropped;
        }
        dump->fn(&link, dump->data);
        return NL_OK;
}

int links_dump(struct links *links, links_link_fn fn, void *data, struct error *error) {
        struct ifinfomsg header = { .ifi_family = AF_UNSPEC };

        return dump(links, RTM_GETLINK, &header, sizeof(header), take_link, &(struct link_dump){ fn, data }, error);
}

struct address_dump {
        links_address_fn fn;
        void *data;
};

static int take_address(struct nl_msg *msg, void *data) {
        const struct address_dump *dump = data;
        const struct ifaddrmsg *header = nlmsg_data(nlmsg_hdr(msg));
        struct nlattr *attributes[IFA_MAX + 1];
        int size = header->ifa_family == AF_INET ? 4 : 16;

        if (nlmsg_hdr(msg)->nlmsg_type != RTM_NEWADDR ||
            nlmsg_parse(nlmsg_hdr(msg), sizeof(*header), attributes, IFA_MAX, NULL) < 0)
                return NL_OK;
        /* On a point-to-point link IFA_ADDRESS is the peer's. */
        struct nlattr *own = attributes[IFA_LOCAL] ? attributes[IFA_LOCAL] : attributes[IFA_ADDRESS];
        if (own && nla_len(own) == size)
                dump->fn(header->ifa_family, nla_data(own), dump->data);
        return NL_OK;
}

int links_dump_addresses(struct links *links, int family, links_address_fn fn, void *data, struct error *error) {
        struct ifaddrmsg header = { .ifa_family = (uint8_t)family };

        return dump(links, RTM_GETADDR, &header, sizeof(header), take_address, &(struct address_dump){ fn, data },
                    error);
}

struct route_dump {
        links_route_fn fn;
        void *data;
};

static int pass_route(struct nl_msg *msg, void *data) {
        const struct rtmsg *header = nlmsg_data(nlmsg_hdr(msg));
        const struct route_dump *dump = data;

        if (nlmsg_hdr(msg)->nlmsg_type != RTM_NEWROUTE || header->rtm_type != RTN_UNICAST ||
            header->rtm_table != RT_TABLE_MAIN)
                return NL_OK;
        struct nlattr *destination = nlmsg_find_attr(nlmsg_hdr(msg), sizeof(*header), RTA_DST);
        struct nlattr *device = nlmsg_find_attr(nlmsg_hdr(msg), sizeof(*header), RTA_OIF);
        if (destination && device && nla_len(destination) == (header->rtm_family == AF_INET ? 4 : 16))
                dump->fn(header->rtm_family, nla_data(destination), header->rtm_dst_len, (int)nla_get_u32(device),
                         dump->data);
        return NL_OK;
}

int links_dump_routes(struct links *links, int family, links_route_fn fn, void *data, struct error *error) {
        struct rtmsg header = { .rtm_family = (uint8_t)family };

        return dump(links, RTM_GETROUTE, &header, sizeof(header), pass_route, &(struct route_dump){ fn, data }, error);
}

static int take_route(struct nl_msg *msg, void *data) {
        const struct rtmsg *header = nlmsg_data(nlmsg_hdr(msg));
        bool *found = data;

        if (nlmsg_hdr(msg)->nlmsg_type == RTM_NEWROUTE && header->rtm_dst_len == 0 &&
            header->rtm_type == RTN_UNICAST && header->rtm_table == RT_TABLE_MAIN)
                *found = true;
        return NL_OK;
}

bool links_has_default_route(struct links *links, int family) {
        struct rtmsg header = { .rtm_family = (uint8_t)family };
        bool found = false;

        return dump(links, RTM_GETROUTE, &header, sizeof(header), take_route, &found, NULL) >= 0 && found;
}

int links_add_bridge(struct links *links, const char *name, const struct mac *mac, unsigned mtu, struct error *error) {
        struct ifinfomsg header = { .ifi_family = AF_UNSPEC };
        _cleanup_msg_ struct nl_msg *msg = message_new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header,
                                                       sizeof(header));

        if (!msg)
                return -ENOMEM;
        /* An address of its own, set once: a bridge otherwise takes its ports' lowest, and changes with them. */
        nla_put_string(msg, IFLA_IFNAME, name);
        nla_put(msg, IFLA_ADDRESS, sizeof(*mac), mac);
        /* A bridge takes its smallest port's MTU too, so that one VM could set the router's, down to where there is no
         * IPv6; but not once its own was changed (br_change_mtu). So it is changed, below. */
        nla_put_u32(msg, IFLA_MTU, mtu + 1);
        struct nlattr *info = nla_nest_start(msg, IFLA_LINKINFO);
        nla_put_string(msg, IFLA_INFO_KIND, "bridge");
        /* Frames to the groups of IEEE 802.1D pass no hook of the bridge family, so nothing is learned from them: any
         * VM could take another's MAC address by one. */
        struct br_boolopt_multi options = { .optval = 1U << BR_BOOLOPT_NO_LL_LEARN,
                                            .optmask = 1U << BR_BOOLOPT_NO_LL_LEARN };
        struct nlattr *data = nla_nest_start(msg, IFLA_INFO_DATA);
        nla_put(msg, IFLA_BR_MULTI_BOOLOPT, sizeof(options), &options);
        nla_nest_end(msg, data);
        nla_nest_end(msg, info);
        int r = transact(links, msg, error, "making the bridge", name);
        if (r < 0)
                return r;
        struct ifreq ifr = { .ifr_mtu = (int)mtu };
        r = request(links, SIOCSIFMTU, name, &ifr);
        return r < 0 ? error_errno(error, r, "setting the MTU of the bridge %s", name) : 0;
}

int links_add_veth(struct links *links, const char *name, const char *peer, int peer_namespace, unsigned mtu,
                   struct error *error) {
        struct ifinfomsg header = { .ifi_family = AF_UNSPEC };
        _cleanup_msg_ struct nl_msg *msg = message_new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header,
                                                       sizeof(header));

        if (!msg)
                return -ENOMEM;
        nla_put_string(msg, IFLA_IFNAME, name);
        nla_put_u32(msg, IFLA_MTU, mtu);
        struct nlattr *info = nla_nest_start(msg, IFLA_LINKINFO);
        nla_put_string(msg, IFLA_INFO_KIND, "veth");
        struct nlattr *data = nla_nest_start(msg, IFLA_INFO_DATA);
        struct nlattr *other = nla_nest_start(msg, VETH_INFO_PEER);
        nlmsg_append(msg, &header, sizeof(header), NLMSG_ALIGNTO);
        nla_put_string(msg, IFLA_IFNAME, peer);
        nla_put_u32(msg, IFLA_MTU, mtu);
        nla_put_u32(msg, IFLA_NET_NS_FD, (uint32_t)peer_namespace);
        nla_nest_end(msg, other);
        nla_nest_end(msg, data);
        nla_nest_end(msg, info);
        return transact(links, msg, error, "making the veth pair", name);
}

int links_delete(struct links *links, const char *name, struct error *error) {
        struct ifinfomsg header = { .ifi_family = AF_UNSPEC };

        header.ifi_index = links_find(links, name);
        if (header.ifi_index == -ENODEV)
                return 0;
        if (header.ifi_index < 0)
                return error_errno(error, header.ifi_index, "device %s", name);

        _cleanup_msg_ struct nl_msg *msg = message_new(RTM_DELLINK, 0, &header, sizeof(header));
        if (!msg)
                return -ENOMEM;
        int r = transact(links, msg, error, "removing device", name);
        return r == -ENODEV ? 0 : r;
}

int links_set_up(struct links *links, const char *name, struct error *error) {
        struct ifreq ifr = {};
        int r = request(links, SIOCGIFFLAGS, name, &ifr);

        if (r == 0) {
                ifr.ifr_flags |= IFF_UP;
                r = request(links, SIOCSIFFLAGS, name, &ifr);
        }
        return r < 0 ? error_errno(error, r, "setting device %s up", name) : 0;
}

static int set_solicitation(struct links *links, const char *table, int index, unsigned times, unsigned interval_ms,
                            struct error *error) {
        struct ndtmsg header = { .ndtm_family = AF_UNSPEC };
        _cleanup_msg_ struct nl_msg *msg = message_new(RTM_SETNEIGHTBL, NLM_F_REPLACE, &header, sizeof(header));

        if (!msg)
                return -ENOMEM;
        nla_put_string(msg, NDTA_NAME, table);
        struct nlattr *parameters = nla_nest_start(msg, NDTA_PARMS);
        nla_put_u32(msg, NDTPA_IFINDEX, (uint32_t)index);
        nla_put_u32(msg, NDTPA_MCAST_PROBES, times);
        nla_put_u64(msg, NDTPA_RETRANS_TIME, interval_ms);
        nla_nest_end(msg, parameters);
        return transact(links, msg, error, "setting up", table);
}

int links_set_solicitation(struct links *links, const char *name, unsigned times, unsigned interval_ms,
                           struct error *error) {
        int index = find(links, name, error);

        if (index < 0)
                return index;
        int r = set_solicitation(links, "arp_cache", index, times, interval_ms, error);
        if (r >= 0)
                r = set_solicitation(links, "ndisc_cache", index, times, interval_ms, error);
        return r == -ENODEV ? 0 : r; /* a kernel without IPv6 has no such table */
}

struct port_query {
        int index;
        bool *isolated;
};

static int read_isolated(struct nl_msg *msg, void *data) {
        struct nlattr *attributes[IFLA_MAX + 1], *port[IFLA_BRPORT_MAX + 1];
        const struct port_query *query = data;
        const struct ifinfomsg *info = nlmsg_data(nlmsg_hdr(msg));

        if (info->ifi_index == query->index &&
            nlmsg_parse(nlmsg_hdr(msg), sizeof(*info), attributes, IFLA_MAX, NULL) == 0 &&
            attributes[IFLA_PROTINFO] &&
            nla_parse_nested(port, IFLA_BRPORT_MAX, attributes[IFLA_PROTINFO], NULL) == 0 &&
            port[IFLA_BRPORT_ISOLATED] && nla_get_u8(port[IFLA_BRPORT_ISOLATED]))
                *query->isolated = true;
        return NL_OK;
}

/* Sets the port's flag and reads it back. */
static int set_isolated(struct links *links, int index, const char *name, struct error *error) {
        struct ifinfomsg header = { .ifi_family = AF_BRIDGE, .ifi_index = index };
        _cleanup_msg_ struct nl_msg *msg = message_new(RTM_SETLINK, 0, &header, sizeof(header));

        if (!msg)
                return -ENOMEM;
        struct nlattr *port = nla_nest_start(msg, IFLA_PROTINFO | NLA_F_NESTED);
        nla_put_u8(msg, IFLA_BRPORT_ISOLATED, 1);
        nla_nest_end(msg, port);
        int r = transact(links, msg, error, "isolating port", name);
        if (r < 0)
                return r;

        bool isolated = false;
        header = (struct ifinfomsg){ .ifi_family = AF_BRIDGE };
        r = dump(links, RTM_GETLINK, &header, sizeof(header), read_isolated, &(struct port_query){ index, &isolated },
                 error);
        if (r < 0)
                return r;
        if (!isolated)
                return error_set(error, -EOPNOTSUPP, "this kernel does not isolate bridge ports");
        return 0;
}

int links_set_port(struct links *links, const char *name, const char *bridge, const char *alias,
                   const struct mac *mac, unsigned mtu, bool isolated, struct error *error) {
        int index = find(links, name, error), master = find(links, bridge, error);

        if (index < 0 || master < 0)
                return index < 0 ? index : master;

        struct ifinfomsg header = { .ifi_family = AF_UNSPEC, .ifi_index = index };
        _cleanup_msg_ struct nl_msg *msg = message_new(RTM_NEWLINK, 0, &header, sizeof(header));
        if (!msg)
                return -ENOMEM;
        nla_put(msg, IFLA_ADDRESS, sizeof(*mac), mac);
        nla_put_u32(msg, IFLA_MTU, mtu);
        nla_put_u32(msg, IFLA_MASTER, (uint32_t)master);
        nla_put_string(msg, IFLA_IFALIAS, alias);
        int r = transact(links, msg, error, "making a port of", name);
        if (r >= 0 && isolated)
                r = set_isolated(links, index, name, error);
        return r < 0 ? r : links_set_up(links, name, error);
}

static int add_address(struct links *links, const char *name, int family, const void *address, size_t size,
                       unsigned length, struct error *error) {
        int index = find(links, name, error);

        if (index < 0)
                return index;

        struct ifaddrmsg header = { .ifa_family = (uint8_t)family, .ifa_prefixlen = (uint8_t)length,
                                    .ifa_index = (uint32_t)index, .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0 };
        _cleanup_msg_ struct nl_msg *msg = message_new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &header,
                                                       sizeof(header));
        if (!msg)
                return -ENOMEM;
        nla_put(msg, IFA_LOCAL, (int)size, address);
        nla_put(msg, IFA_ADDRESS, (int)size, address);
        return transact(links, msg, error, "adding an address to", name);
}

int links_add_address4(struct links *links, const char *name, uint32_t address, unsigned length, struct error *error) {
        uint32_t network_order = htonl(address);

        return add_address(links, name, AF_INET, &network_order, sizeof(network_order), length, error);
}

int links_add_address6(struct links *links, const char *name, const struct in6_addr *address, unsigned length,
                       struct error *error) {
        return add_address(links, name, AF_INET6, address, sizeof(*address), length, error);
}

/* Addresses of `size` bytes; NULL where there is none. */
static int add_route(struct links *links, int family, size_t size, const void *destination, unsigned length,
                     const void *gateway, const char *name, const void *source, struct error *error) {
        int index = find(links, name, error);

        if (index < 0)
                return index;

        struct rtmsg header = { .rtm_family = (uint8_t)family, .rtm_dst_len = (uint8_t)length,
                                .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC, .rtm_type = RTN_UNICAST,
                                .rtm_scope = gateway || family == AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                                .rtm_flags = gateway && family == AF_INET ? RTNH_F_ONLINK : 0 };
        _cleanup_msg_ struct nl_msg *msg = message_new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &header,
                                                       sizeof(header));
        if (!msg)
                return -ENOMEM;
        if (length > 0)
                nla_put(msg, RTA_DST, (int)size, destination);
        if (gateway)
                nla_put(msg, RTA_GATEWAY, (int)size, gateway);
        if (source)
                nla_put(msg, RTA_PREFSRC, (int)size, source);
        nla_put_u32(msg, RTA_OIF, (uint32_t)index);
        return transact(links, msg, error, "adding a route through", name);
}

int links_add_route4(struct links *links, uint32_t destination, unsigned length, uint32_t gateway, const char *name,
                     uint32_t source, struct error *error) {
        uint32_t d = htonl(destination), g = htonl(gateway), s = htonl(source);

        return add_route(links, AF_INET, sizeof(d), &d, length, gateway ? &g : NULL, name, source ? &s : NULL, error);
}

int links_add_route6(struct links *links, const struct in6_addr *destination, unsigned length,
                     const struct in6_addr *gateway, const char *name, const struct in6_addr *source,
                     struct error *error) {
        return add_route(links, AF_INET6, sizeof(*destination), destination, length, gateway, name, source, error);
}
