#include "network/ruleset.h"

#include <string.h>

#include "base/memory.h"
#include "network/nftables.h"
#include "network/ruleset-guard.h"

/* What VMs may ask of the gateway itself. */
static void print_input(FILE *f, const struct configuration *c) {
        fprintf(f, "chain input { type filter hook input priority filter; policy drop;\n");
        /* A frame to one of 802.1D's groups comes up on the port itself, past the guard. */
        fprintf(f, "iifname != { lo, " RULESET_BRIDGE ", " RULESET_UPLINK " } drop\n");
        fprintf(f, "iifname lo accept\nct state established,related accept\n");
        fprintf(f, "meta l4proto { " ICMP ", " ICMPV6 " } accept\n");
        if (c->dns)
                fprintf(f, "iifname " RULESET_BRIDGE " meta l4proto { " TCP ", " UDP " } th dport 53 accept\n");
        if (c->dhcp)
                fprintf(f, "iifname " RULESET_BRIDGE " udp dport { 67, 547 } accept\n");
        fprintf(f, "iifname " RULESET_BRIDGE " meta l4proto " TCP " reject with tcp reset\n");
        fprintf(f, "iifname " RULESET_BRIDGE " reject\n}\n");
}

/* The gateway's address leads to the host, but for the services that the gateway itself gives. */
static void print_gateway(FILE *f, const struct configuration *c, const struct ruleset_uplink *uplink) {
        char gateway[INET_ADDRSTRLEN], host[INET_ADDRSTRLEN], gateway6[INET6_ADDRSTRLEN], host6[INET6_ADDRSTRLEN];
        struct in6_addr address6 = configuration_address6(c, 1);

        fprintf(f, "chain prerouting { type nat hook prerouting priority dstnat; policy accept;\n");
        if (uplink->host4)
                fprintf(f,
                        "iifname " RULESET_BRIDGE " ip daddr %s meta l4proto { " TCP ", " UDP " } th dport != { 53, 67 } "
                        "dnat ip to %s\n",
                        ipv4_format(c->gateway, gateway), ipv4_format(uplink->host4, host));
        if (c->ipv6 && !IN6_IS_ADDR_UNSPECIFIED(&uplink->host6))
                fprintf(f,
                        "iifname " RULESET_BRIDGE " ip6 daddr %s meta l4proto { " TCP ", " UDP " } th dport != { 53, 547 } "
                        "dnat ip6 to %s\n",
                        ipv6_format(&address6, gateway6), ipv6_format(&uplink->host6, host6));
        fprintf(f, "}\n");
}

/* Who may go through to where. From the uplink only the host itself comes in: its end of the veth says so. */
static void print_forward(FILE *f, const struct configuration *c, const struct ruleset_uplink *uplink) {
        fprintf(f, "chain forward { type filter hook forward priority filter; policy drop;\n");
        fprintf(f, "tcp flags syn tcp option maxseg size set rt mtu\n");
        fprintf(f, "ct state established,related accept\n");
        fprintf(f, "iifname " RULESET_BRIDGE " oifname " RULESET_UPLINK " goto outward\n");
        if (!uplink->masquerade)
                fprintf(f, "iifname " RULESET_UPLINK " oifname " RULESET_BRIDGE " accept\n");
        /* Refused aloud: a dropped packet is a program that waits for minutes. */
        fprintf(f, "iifname " RULESET_BRIDGE " reject with icmpx admin-prohibited\n}\n");

        fprintf(f, "chain outward {\n");
        fprintf(f, "ct status dnat accept\n");
        if (c->mode == NETWORK_SHARED) {
                /* A resolver of the host's is not the guests'; link-local addresses are services of the host's own
                 * link, cloud metadata among them. */
                fprintf(f, "ip daddr @host4 meta l4proto { " TCP ", " UDP " } th dport 53 goto refuse\n");
                fprintf(f, "ip6 daddr @host6 meta l4proto { " TCP ", " UDP " } th dport 53 goto refuse\n");
                fprintf(f, "ip daddr @others4 goto refuse\nip6 daddr @others6 goto refuse\n");
                fprintf(f, "ip daddr { 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/4 } goto refuse\n");
                fprintf(f, "ip6 daddr { fe80::/10, ff00::/8 } goto refuse\n");
                if (c->nat44 || !uplink->masquerade)
                        fprintf(f, "meta nfproto ipv4 accept\n");
                if (c->nat66 || !uplink->masquerade)
                        fprintf(f, "meta nfproto ipv6 accept\n");
        }
        fprintf(f, "goto refuse\n}\nchain refuse { reject with icmpx admin-prohibited; }\n");
}

static void print_all_of_port(FILE *f, const struct configuration *c, const struct ruleset_port *port) {
        if (c->anti_spoofing)
                guard_print_port(f, c, port);
        if (port->isolated)
                guard_print_isolation(f, port);
}

/* Whose address new connections bear. The host comes to VMs as the gateway: those of a `host` network have a route to
 * nothing else. */
static void print_source(FILE *f, const struct configuration *c, const struct ruleset_uplink *uplink) {
        char gateway[INET_ADDRSTRLEN], host[INET_ADDRSTRLEN], gateway6[INET6_ADDRSTRLEN], host6[INET6_ADDRSTRLEN];
        struct in6_addr address6 = configuration_address6(c, 1);

        fprintf(f, "chain postrouting { type nat hook postrouting priority srcnat; policy accept;\n");
        if (uplink->masquerade)
                fprintf(f, "oifname " RULESET_UPLINK " masquerade\n");
        if (!uplink->masquerade && uplink->host4)
                fprintf(f, "oifname " RULESET_BRIDGE " ip saddr %s snat ip to %s\n",
                        ipv4_format(uplink->host4, host), ipv4_format(c->gateway, gateway));
        if (!uplink->masquerade && c->ipv6 && !IN6_IS_ADDR_UNSPECIFIED(&uplink->host6))
                fprintf(f, "oifname " RULESET_BRIDGE " ip6 saddr %s snat ip6 to %s\n",
                        ipv6_format(&uplink->host6, host6), ipv6_format(&address6, gateway6));
        fprintf(f, "}\n");
}

struct network_text {
        const struct configuration *configuration;
        const struct ruleset_uplink *uplink;
        const struct ruleset_port *ports;
        size_t n_ports;
};

static void print_network(FILE *f, struct nft_ctx *nft, const void *data) {
        const struct network_text *t = data;
        const struct configuration *c = t->configuration;

        fprintf(f, "table inet berth\ndelete table inet berth\ntable inet berth {\n");
        fprintf(f, "set host4 { type ipv4_addr; }\nset host6 { type ipv6_addr; }\n");
        fprintf(f, "set others4 { type ipv4_addr; flags interval; }\nset others6 { type ipv6_addr; flags interval; }\n");
        print_input(f, c);
        print_gateway(f, c, t->uplink);
        print_forward(f, c, t->uplink);
        print_source(f, c, t->uplink);
        fprintf(f, "}\n");

        /* With what an earlier process of this network may have left in the namespace. */
        fprintf(f, "table bridge berth\ndelete table bridge berth\ntable bridge berth {\n}\n");
        if (c->anti_spoofing)
                guard_print(f, c);
        for (size_t i = 0; i < t->n_ports; i++)
                print_all_of_port(f, c, &t->ports[i]);
}

int ruleset_set_network(const struct configuration *configuration, const struct ruleset_uplink *uplink,
                        const struct ruleset_port *ports, size_t n_ports, struct error *error) {
        const struct network_text text = { configuration, uplink, ports, n_ports };

        return nftables_apply(-1, print_network, &text, error);
}

static void print_add_port(FILE *f, struct nft_ctx *nft, const void *data) {
        const struct network_text *t = data;

        print_all_of_port(f, t->configuration, t->ports);
}

int ruleset_add_port(const struct configuration *configuration, const struct ruleset_port *port, struct error *error) {
        if (!configuration->anti_spoofing && !port->isolated)
                return 0;
        return nftables_apply(-1, print_add_port, &(struct network_text){ configuration, NULL, port, 1 }, error);
}

static void print_remove_ports(FILE *f, struct nft_ctx *nft, const void *data) {
        const struct network_text *t = data;

        for (size_t i = 0; i < t->n_ports; i++)
                guard_print_removal(f, nft, t->configuration, &t->ports[i]);
}

int ruleset_remove_ports(const struct configuration *configuration, const struct ruleset_port *ports, size_t n_ports,
                         struct error *error) {
        const struct network_text text = { configuration, NULL, ports, n_ports };

        return nftables_apply(-1, print_remove_ports, &text, error);
}

struct address_sets {
        const char *set, *list4, *list6;
};

static void print_sets(FILE *f, struct nft_ctx *nft, const void *data) {
        const struct address_sets *sets = data;
        const char *set = sets->set;

        fprintf(f, "flush set inet berth %s4\nflush set inet berth %s6\n", set, set);
        if (*sets->list4)
                fprintf(f, "add element inet berth %s4 { %s }\n", set, sets->list4);
        if (*sets->list6)
                fprintf(f, "add element inet berth %s6 { %s }\n", set, sets->list6);
}

int ruleset_set_host_addresses(const char *list4, const char *list6, struct error *error) {
        return nftables_apply(-1, print_sets, &(struct address_sets){ "host", list4, list6 }, error);
}

int ruleset_set_other_networks(const char *list4, const char *list6, struct error *error) {
        return nftables_apply(-1, print_sets, &(struct address_sets){ "others", list4, list6 }, error);
}
