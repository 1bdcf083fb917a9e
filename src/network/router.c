#include "network/router.h"

#include <errno.h>

#include "base/file.h"
#include "base/memory.h"
#include "network/addresses.h"
#include "network/ruleset.h"

/*
 * A VM is asked for before it has its address: dnsmasq pings the one that a VM will form to know whether to publish
 * it. With the kernel's second between two questions, the first answer to a VM that has just booted would wait, and
 * be dropped behind the third.
 */
#define SOLICITATIONS 20
#define SOLICITATION_INTERVAL 100 /* milliseconds */

static const struct setting {
        const char *path, *value;
        bool ipv6; /* wanted only with IPv6 */
} settings[] = {
        { "/proc/sys/net/ipv4/ip_forward", "1", false },
        { "/proc/sys/net/ipv6/conf/all/forwarding", "1", true },
        /* We are the router here, and listen to no other. */
        { "/proc/sys/net/ipv6/conf/default/accept_ra", "0", true },
        { "/proc/sys/net/ipv6/conf/all/accept_ra", "0", true },
        /* VMs on one subnet do not need to be told of each other, and one must not be told by another. */
        { "/proc/sys/net/ipv4/conf/all/send_redirects", "0", false },
        { "/proc/sys/net/ipv4/conf/default/send_redirects", "0", false },
        { "/proc/sys/net/ipv4/conf/all/accept_redirects", "0", false },
        /* br_netfilter, where Docker or another loaded it, would send bridged frames through the IP hooks and drop
         * short ones on the way. The settings are the namespace's own. */
        { "/proc/sys/net/bridge/bridge-nf-call-iptables", "0", false },
        { "/proc/sys/net/bridge/bridge-nf-call-ip6tables", "0", false },
        { "/proc/sys/net/bridge/bridge-nf-call-arptables", "0", false },
};

static int apply_settings(const struct configuration *c, struct error *error) {
        for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
                if (settings[i].ipv6 && !c->ipv6)
                        continue;
                int r = file_write_in_place(settings[i].path, settings[i].value, error);
                if (r == -ENOENT && settings[i].ipv6)
                        return error_set(error, r, "this kernel has no IPv6: give the network no \"ipv6_prefix\"");
                if (r < 0 && r != -ENOENT)
                        return r;
        }
        return 0;
}

int router_set_up(const struct configuration *c, struct links *links, struct error *error) {
        static const struct in6_addr link_local = { .s6_addr = { 0xfe, 0x80, [15] = 1 } };
        struct in6_addr gateway6 = configuration_address6(c, 1);
        struct mac mac = addresses_mac(c, "gateway");

        int r = apply_settings(c, error);
        if (r >= 0)
                r = links_set_up(links, "lo", error);
        if (r >= 0)
                r = links_add_bridge(links, RULESET_BRIDGE, &mac, c->mtu, error);
        if (r >= 0)
                r = links_add_address4(links, RULESET_BRIDGE, c->gateway, (unsigned)ipv4_mask_length(c->mask), error);
        if (r >= 0 && c->ipv6) {
                /* And none that the kernel forms: it would be advertised as a second router, which nobody guards. */
                r = file_write_in_place("/proc/sys/net/ipv6/conf/" RULESET_BRIDGE "/addr_gen_mode", "1", error);
                if (r < 0)
                        return r;
                /* The link-local one, from which routers advertise, is there before the first port has a carrier. */
                r = links_add_address6(links, RULESET_BRIDGE, &link_local, 64, error);
                if (r >= 0)
                        r = links_add_address6(links, RULESET_BRIDGE, &gateway6, 64, error);
        }
        if (r >= 0)
                r = links_set_solicitation(links, RULESET_BRIDGE, SOLICITATIONS, SOLICITATION_INTERVAL, error);
        return r >= 0 ? links_set_up(links, RULESET_BRIDGE, error) : r;
}
