#include "network/ruleset.h"

#include <errno.h>
#include <fcntl.h>
#include <nftables/libnftables.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"

/* Protocols by number (IANA's registry): nft takes their names from /etc/protocols, which a small machine lacks. */
#define ICMP "1"
#define IGMP "2"
#define TCP "6"
#define UDP "17"
#define ICMPV6 "58"

/* Prints a transaction; `nft` is there to ask what stands now. */
typedef void (*print_fn)(FILE *f, struct nft_ctx *nft, const void *data);

/* In the child: puts the text together, runs it, writes what went wrong, and gives the exit status. */
static int run_child(print_fn print, const void *data, int report) {
        char *text = NULL;
        size_t size = 0;
        struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
        FILE *f = open_memstream(&text, &size);

        if (!nft || !f || nft_ctx_buffer_error(nft) != 0 || nft_ctx_buffer_output(nft) != 0)
                return 1;
        print(f, nft, data);
        if (fclose(f) != 0)
                return 1;

        int r = nft_run_cmd_from_buffer(nft, text);
        const char *reason = r == 0 ? "" : nft_ctx_get_error_buffer(nft);
        if (write(report, reason, strlen(reason)) < 0)
                return 1;
        return r != 0;
}

/*
 * Runs a transaction in a child, in the network namespace given (-1: this process's): libnftables keeps more than a
 * megabyte once it has run, and this process stays small.
 */
static int apply_in(int namespace, print_fn print, const void *data, struct error *error) {
        int pipe_fds[2];

        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return error_errno(error, -errno, "making a pipe");
        _cleanup_fd_ int reader = pipe_fds[0];
        int writer = pipe_fds[1];

        pid_t pid = fork();
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (namespace >= 0 && setns(namespace, CLONE_NEWNET) < 0)
                        _exit(1);
                _exit(run_child(print, data, writer));
        }
        fd_close(writer);
        if (pid < 0)
                return error_errno(error, -errno, "starting the nftables child");

        char reason[320] = "";
        size_t used = 0;
        ssize_t n;
        while ((n = read(reader, reason + used, sizeof(reason) - 1 - used)) > 0 || (n < 0 && errno == EINTR))
                if (n > 0)
                        used += (size_t)n;
        int status = 0;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        reason[strcspn(reason, "\n")] = 0;
        return error_set(error, -EINVAL, "nftables refused the rules: %s",
                         used ? reason : "its child ended without a word");
}

static int apply(print_fn print, const void *data, struct error *error) {
        return apply_in(-1, print, data, error);
}

/* An IPv6 address as the raw 128 bits that the sets are keyed on. */
static const char *raw6(const struct in6_addr *address, char buffer[static 35]) {
        strcpy(buffer, "0x");
        for (size_t i = 0; i < 16; i++)
                snprintf(buffer + 2 + 2 * i, 3, "%02x", address->s6_addr[i]);
        return buffer;
}

static const struct in6_addr link_local = { .s6_addr = { 0xfe, 0x80 } };

/* Prints the addresses that are a port's by right: its modified EUI-64 ones and the one that DHCPv6 gives. */
static void print_fixed6(FILE *f, const struct configuration *c, const struct ruleset_port *port) {
        struct in6_addr address = address_eui64(&link_local, &port->mac);
        char raw[35];

        fprintf(f, "{ %s", raw6(&address, raw));
        if (c->ipv6) {
                address = address_eui64(&c->prefix, &port->mac);
                fprintf(f, ", %s", raw6(&address, raw));
        }
        if (c->ipv6 && port->address) {
                address = configuration_address6(c, port->address & ~c->mask);
                fprintf(f, ", %s", raw6(&address, raw));
        }
        fprintf(f, " }\n");
}

/*
 * ARP. Somebody who asks for an address from none (a probe, RFC 5227) denies it to whoever else asks for it, so only
 * an address that one may have can be asked for so.
 */
static void print_port_arp(FILE *f, const struct ruleset_port *port) {
        const char *p = port->name;
        char address[INET_ADDRSTRLEN];

        if (port->address) {
                ipv4_format(port->address, address);
                fprintf(f, "add rule bridge berth %s_arp arp saddr ip %s accept\n", p, address);
                fprintf(f, "add rule bridge berth %s_arp arp saddr ip 0.0.0.0 arp daddr ip %s accept\n", p, address);
        } else {
                fprintf(f, "add rule bridge berth %s_arp arp saddr ip @own4_%s accept\n", p, p);
                fprintf(f, "add rule bridge berth %s_arp arp saddr ip @taken4 counter drop\n", p);
                fprintf(f, "add rule bridge berth %s_arp arp saddr ip 0.0.0.0 arp daddr ip @own4_%s accept\n", p, p);
                fprintf(f, "add rule bridge berth %s_arp arp saddr ip 0.0.0.0 arp daddr ip @taken4 counter drop\n", p);
                fprintf(f, "add rule bridge berth %s_arp arp saddr ip 0.0.0.0 accept\n", p);
                fprintf(f,
                        "add rule bridge berth %s_arp add @own4_%s { arp saddr ip } add @taken4 { arp saddr ip } "
                        "accept\n",
                        p, p);
        }
        fprintf(f, "add rule bridge berth %s_arp counter drop\n", p);
}

/*
 * IPv4. Later fragments have no ports, and the kernel takes their data for such: there the address alone decides. A
 * message to the DHCP server bears the sender's own MAC (@th,288,48 is chaddr, RFC 2131), or one VM could release or
 * decline the address of another. Clients look at the port they are sent to, whatever the sender's.
 */
static void print_port4(FILE *f, const struct ruleset_port *port) {
        const char *p = port->name;
        char own[32] = "@own4_", mac[16];

        if (port->address)
                ipv4_format(port->address, own);
        else
                snprintf(own, sizeof(own), "@own4_%s", p);
        snprintf(mac, sizeof(mac), "0x%02x%02x%02x%02x%02x%02x", port->mac.octets[0], port->mac.octets[1],
                 port->mac.octets[2], port->mac.octets[3], port->mac.octets[4], port->mac.octets[5]);

        fprintf(f, "add rule bridge berth %s_4 ip frag-off & 0x1fff != 0 ip saddr %s accept\n", p, own);
        fprintf(f, "add rule bridge berth %s_4 ip frag-off & 0x1fff != 0 counter drop\n", p);
        fprintf(f, "add rule bridge berth %s_4 udp sport 67 counter drop\n", p);
        fprintf(f, "add rule bridge berth %s_4 udp dport 68 counter drop\n", p);
        /* Of a group's members only the router asks: a bridge forgets those that do not answer in time. */
        fprintf(f, "add rule bridge berth %s_4 igmp type membership-query counter drop\n", p);
        fprintf(f, "add rule bridge berth %s_4 ip saddr 0.0.0.0 udp sport 68 udp dport 67 @th,288,48 %s accept\n", p,
                mac);
        fprintf(f, "add rule bridge berth %s_4 ip saddr %s udp dport 67 @th,288,48 %s accept\n", p, own, mac);
        fprintf(f, "add rule bridge berth %s_4 udp dport 67 counter drop\n", p);
        fprintf(f, "add rule bridge berth %s_4 ip saddr %s accept\n", p, own);
        fprintf(f, "add rule bridge berth %s_4 ip saddr 0.0.0.0 ip protocol " IGMP " accept\n", p);
        fprintf(f, "add rule bridge berth %s_4 counter drop\n", p);
}

/* The addresses that a VM may choose, as the first half of each. */
static void print_prefixes(FILE *f, const struct configuration *c) {
        char raw[35];

        fprintf(f, "{ %.18s", raw6(&link_local, raw));
        if (c->ipv6)
                fprintf(f, ", %.18s", raw6(&c->prefix, raw));
        fprintf(f, " }");
}

/*
 * Whose an address is, for those that `match` holds for: the port's by right, another's by right, or the port's because
 * it came first. In that order, for what is a port's by right can be guessed, and another may have come before it.
 */
static void print_whose6(FILE *f, const char *port, const char *chain, const char *match, const char *address,
                         const char *verdict) {
        fprintf(f, "add rule bridge berth %s%s %s %s @fixed6_%s %s\n", port, chain, match, address, port, verdict);
        fprintf(f, "add rule bridge berth %s%s %s %s @assigned6 counter drop\n", port, chain, match, address);
        fprintf(f, "add rule bridge berth %s%s %s %s @own6_%s %s\n", port, chain, match, address, port, verdict);
}

/*
 * IPv6. @nh,64,128 is a packet's source and @th,64,128 the target of a neighbour solicitation or advertisement (RFC
 * 4861, sections 4.3 and 4.4), all raw so that they share sets. The own set is filled before the common one: once it
 * is full, nothing more of the port's gets into the other. A VM that asks whether an address is free (RFC 4862,
 * section 5.4) has it from then on, and nobody can tell it that it is not.
 */
static void print_port6(FILE *f, const struct configuration *c, const struct ruleset_port *port) {
        const char *p = port->name;
        char own[40];

        snprintf(own, sizeof(own), "goto %s_own6", p);
        print_whose6(f, p, "_own6", "icmpv6 type nd-neighbor-advert", "@th,64,128", "accept");
        fprintf(f, "add rule bridge berth %s_own6 icmpv6 type nd-neighbor-advert counter drop\n", p);
        fprintf(f, "add rule bridge berth %s_own6 accept\n", p);

        print_whose6(f, p, "_6", "frag frag-off != 0", "@nh,64,128", "accept");
        fprintf(f, "add rule bridge berth %s_6 frag frag-off != 0 counter drop\n", p);
        /* Neighbour discovery is never fragmented (RFC 6980). */
        fprintf(f,
                "add rule bridge berth %s_6 exthdr frag exists icmpv6 type { nd-router-solicit, nd-neighbor-solicit, "
                "nd-neighbor-advert } counter drop\n",
                p);
        fprintf(f,
                "add rule bridge berth %s_6 icmpv6 type { nd-router-advert, nd-redirect, mld-listener-query } "
                "counter drop\n",
                p);
        fprintf(f, "add rule bridge berth %s_6 udp sport 547 counter drop\n", p);
        fprintf(f, "add rule bridge berth %s_6 udp dport 546 counter drop\n", p);
        print_whose6(f, p, "_6", "", "@nh,64,128", own);
        fprintf(f, "add rule bridge berth %s_6 @nh,64,128 @taken6 counter drop\n", p);
        /* Routers are asked for and groups joined (RFC 3590) from the unspecified address too. */
        fprintf(f,
                "add rule bridge berth %s_6 ip6 saddr :: icmpv6 type { nd-router-solicit, mld-listener-report, "
                "mld2-listener-report, mld-listener-done } accept\n",
                p);
        fprintf(f, "add rule bridge berth %s_6 ip6 saddr :: icmpv6 type != nd-neighbor-solicit counter drop\n", p);
        fprintf(f, "add rule bridge berth %s_6 ip6 saddr :: meta l4proto != " ICMPV6 " counter drop\n", p);
        print_whose6(f, p, "_6", "ip6 saddr ::", "@th,64,128", "accept");
        fprintf(f, "add rule bridge berth %s_6 ip6 saddr :: @th,64,128 @taken6 counter drop\n", p);
        fprintf(f, "add rule bridge berth %s_6 ip6 saddr :: @th,64,64 ", p);
        print_prefixes(f, c);
        fprintf(f, " add @own6_%s { @th,64,128 } add @taken6 { @th,64,128 } accept\n", p);
        fprintf(f, "add rule bridge berth %s_6 @nh,64,64 ", p);
        print_prefixes(f, c);
        fprintf(f, " add @own6_%s { @nh,64,128 } add @taken6 { @nh,64,128 } %s\n", p, own);
        fprintf(f, "add rule bridge berth %s_6 counter drop\n", p);
}

static void print_port(FILE *f, const struct configuration *c, const struct ruleset_port *port) {
        static const char *const chains[] = { "", "_arp", "_4", "_6", "_own6" };
        const char *p = port->name;
        char mac[MAC_TEXT_SIZE];

        if (!port->address)
                fprintf(f, "add set bridge berth own4_%s { type ipv4_addr; size %d; flags dynamic; }\n", p,
                        RULESET_ADDRESSES);
        fprintf(f, "add set bridge berth own6_%s { typeof @nh,64,128; size %d; flags dynamic; }\n", p,
                RULESET_ADDRESSES);
        fprintf(f, "add set bridge berth fixed6_%s { typeof @nh,64,128; }\nadd element bridge berth fixed6_%s ", p, p);
        print_fixed6(f, c, port);
        fprintf(f, "add element bridge berth assigned6 ");
        print_fixed6(f, c, port);

        for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
                fprintf(f, "add chain bridge berth %s%s\n", p, chains[i]);
        mac_format(&port->mac, mac);
        fprintf(f, "add rule bridge berth %s ether saddr != %s counter drop\n", p, mac);
        fprintf(f, "add rule bridge berth %s ether type vmap { ip : goto %s_4, ip6 : goto %s_6, arp : continue }\n", p,
                p, p);
        fprintf(f, "add rule bridge berth %s ether type != arp counter drop\n", p);
        fprintf(f, "add rule bridge berth %s arp saddr ether != %s counter drop\n", p, mac);
        fprintf(f, "add rule bridge berth %s goto %s_arp\n", p, p);
        print_port_arp(f, port);
        print_port4(f, port);
        print_port6(f, c, port);
        fprintf(f, "add element bridge berth ports { \"%s\" : goto %s }\n", p, p);
}

/* The kernel's own flag keeps isolated ports from each other only. Without such a port no frame is looked at. */
static void print_isolation(FILE *f, const struct ruleset_port *port) {
        fprintf(f, "add set bridge berth isolated { type ifname; }\n");
        fprintf(f, "add element bridge berth isolated { \"%s\" }\n", port->name);
        fprintf(f, "add chain bridge berth forward { type filter hook forward priority -300; }\n");
        fprintf(f, "flush chain bridge berth forward\n");
        fprintf(f, "add rule bridge berth forward iifname @isolated counter drop\n");
        fprintf(f, "add rule bridge berth forward oifname @isolated counter drop\n");
}

/* The guard's frame. What is not a port (the bridge itself) passes; a port is guarded before its device is up. */
static void print_guard(FILE *f, const struct configuration *c) {
        char raw[35], address[INET_ADDRSTRLEN];
        /* The gateway's, and the one that all routers of a subnet have (RFC 4291, section 2.6.1). */
        struct in6_addr gateway6 = configuration_address6(c, 1), any_router = configuration_address6(c, 0);
        struct in6_addr router = link_local;

        router.s6_addr[15] = 1;
        fprintf(f, "table bridge berth {\n");
        fprintf(f, "set taken4 { type ipv4_addr; size 65535; flags dynamic; elements = { %s }\n}\n",
                ipv4_format(c->gateway, address));
        fprintf(f, "set taken6 { typeof @nh,64,128; size 65535; flags dynamic; }\n");
        fprintf(f, "set assigned6 { typeof @nh,64,128; elements = { %s", raw6(&router, raw));
        if (c->ipv6)
                fprintf(f, ", %s", raw6(&gateway6, raw));
        if (c->ipv6)
                fprintf(f, ", %s", raw6(&any_router, raw));
        fprintf(f, " }\n}\n");
        fprintf(f, "map ports { type ifname : verdict; }\n");
        fprintf(f, "chain prerouting { type filter hook prerouting priority -300; policy accept;\n");
        fprintf(f, "iifname vmap @ports\n}\n}\n");
}

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
                print_port(f, c, port);
        if (port->isolated)
                print_isolation(f, port);
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
                print_guard(f, c);
        for (size_t i = 0; i < t->n_ports; i++)
                print_all_of_port(f, c, &t->ports[i]);
}

int ruleset_set_network(const struct configuration *configuration, const struct ruleset_uplink *uplink,
                        const struct ruleset_port *ports, size_t n_ports, struct error *error) {
        return apply(print_network, &(struct network_text){ configuration, uplink, ports, n_ports }, error);
}

static void print_add_port(FILE *f, struct nft_ctx *nft, const void *data) {
        const struct network_text *t = data;

        print_all_of_port(f, t->configuration, t->ports);
}

int ruleset_add_port(const struct configuration *configuration, const struct ruleset_port *port, struct error *error) {
        if (!configuration->anti_spoofing && !port->isolated)
                return 0;
        return apply(print_add_port, &(struct network_text){ configuration, NULL, port, 1 }, error);
}

/* Takes what `set` holds out of `common`. An element not there may not be deleted, so it is added first. */
static void print_release(FILE *f, struct nft_ctx *nft, const char *set, const char *port, const char *common) {
        _cleanup_free_ char *query = text_format("list set bridge berth %s_%s", set, port);

        if (!query || nft_run_cmd_from_buffer(nft, query) != 0)
                return;
        const char *start = strstr(nft_ctx_get_output_buffer(nft), "elements = {");
        const char *end = start ? strchr(start, '}') : NULL;
        if (!end)
                return;
        start += strlen("elements = {");
        fprintf(f, "add element bridge berth %s {%.*s}\n", common, (int)(end - start), start);
        fprintf(f, "delete element bridge berth %s {%.*s}\n", common, (int)(end - start), start);
}

static void print_remove_port(FILE *f, struct nft_ctx *nft, const struct configuration *c,
                              const struct ruleset_port *port) {
        static const char *const chains[] = { "", "_arp", "_4", "_6", "_own6" };
        const char *p = port->name;

        if (port->isolated)
                fprintf(f, "delete element bridge berth isolated { \"%s\" }\n", p);
        if (!c->anti_spoofing)
                return;
        if (!port->address)
                print_release(f, nft, "own4", p, "taken4");
        print_release(f, nft, "own6", p, "taken6");
        fprintf(f, "delete element bridge berth assigned6 ");
        print_fixed6(f, c, port);
        fprintf(f, "delete element bridge berth ports { \"%s\" }\n", p);
        for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
                fprintf(f, "flush chain bridge berth %s%s\n", p, chains[i]);
        for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
                fprintf(f, "delete chain bridge berth %s%s\n", p, chains[i]);
        if (!port->address)
                fprintf(f, "delete set bridge berth own4_%s\n", p);
        fprintf(f, "delete set bridge berth own6_%s\ndelete set bridge berth fixed6_%s\n", p, p);
}

static void print_remove_ports(FILE *f, struct nft_ctx *nft, const void *data) {
        const struct network_text *t = data;

        for (size_t i = 0; i < t->n_ports; i++)
                print_remove_port(f, nft, t->configuration, &t->ports[i]);
}

int ruleset_remove_ports(const struct configuration *configuration, const struct ruleset_port *ports, size_t n_ports,
                         struct error *error) {
        return apply(print_remove_ports, &(struct network_text){ configuration, NULL, ports, n_ports }, error);
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
        return apply(print_sets, &(struct address_sets){ "host", list4, list6 }, error);
}

int ruleset_set_other_networks(const char *list4, const char *list6, struct error *error) {
        return apply(print_sets, &(struct address_sets){ "others", list4, list6 }, error);
}

struct host_text {
        const struct configuration *configuration;
        const char *device;
};

static void print_host(FILE *f, const struct host_text *t) {
        const struct configuration *c = t->configuration;
        const char *d = t->device;
        char subnet[INET_ADDRSTRLEN], prefix[INET6_ADDRSTRLEN];
        int length = ipv4_mask_length(c->mask);

        ipv4_format(c->gateway & c->mask, subnet);
        fprintf(f, "table inet berth_%u\ndelete table inet berth_%u\ntable inet berth_%u {\n", c->index, c->index,
                c->index);
        /* Networks do not reach each other, and nobody but the host reaches into one. */
        fprintf(f, "chain forward { type filter hook forward priority filter - 1; policy accept;\n");
        fprintf(f, "iifname %s oifname \"berth*\" drop\n", d);
        fprintf(f, "iifname %s ip saddr != %s/%d drop\n", d, subnet, length);
        fprintf(f, "iifname %s ip6 saddr != %s/%d drop\n", d, c->ipv6 ? ipv6_format(&c->prefix, prefix) : "::1",
                c->ipv6 ? 64 : 128);
        fprintf(f, "oifname %s ct state established,related accept\noifname %s drop\n}\n", d, d);
        /* A resolver that listens on all addresses is not meant for guests. */
        fprintf(f, "chain input { type filter hook input priority filter - 1; policy accept;\n");
        fprintf(f, "iifname %s ip saddr != { %s/%d, 169.254.64.2 } drop\n", d, subnet, length);
        fprintf(f, "iifname %s ip6 saddr != { %s/%d, fe80::/10, :: } drop\n", d,
                c->ipv6 ? ipv6_format(&c->prefix, prefix) : "::1", c->ipv6 ? 64 : 128);
        fprintf(f, "iifname %s meta l4proto { " TCP ", " UDP " } th dport 53 reject\n}\n", d);
        fprintf(f, "chain postrouting { type nat hook postrouting priority srcnat; policy accept;\n");
        if (c->nat44)
                fprintf(f, "oifname != \"berth*\" ip saddr %s/%d masquerade\n", subnet, length);
        if (c->nat66 && c->ipv6)
                fprintf(f, "oifname != \"berth*\" ip6 saddr %s/64 masquerade\n", ipv6_format(&c->prefix, prefix));
        fprintf(f, "}\n}\n");
}

/* Where other firewalls keep what drops forwarded packets, in the tables of either family; an accept of ours there
 * comes before it. Docker's own chain for such rules first: it outlives its restarts. */
static const char *const foreign_families[] = { "ip", "ip6" };
static const char *const foreign_chains[] = { "DOCKER-USER", "FORWARD" };

/* Takes our rules out of a chain of another's: those that bear our comment, by the handles that nft lists. */
static bool print_foreign_removal(FILE *f, struct nft_ctx *nft, const char *family, const char *chain,
                                  const char *comment) {
        _cleanup_free_ char *query = text_format("list chain %s filter %s", family, chain);
        _cleanup_free_ char *listing = NULL;
        char *rest = NULL;

        nft_ctx_output_set_flags(nft, NFT_CTX_OUTPUT_HANDLE);
        if (!query || nft_run_cmd_from_buffer(nft, query) != 0)
                return false;
        listing = strdup(nft_ctx_get_output_buffer(nft));
        for (char *line = listing ? strtok_r(listing, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
                const char *handle = strstr(line, "# handle ");
                if (handle && strstr(line, comment))
                        fprintf(f, "delete rule %s filter %s handle %s\n", family, chain,
                                handle + strlen("# handle "));
        }
        return true;
}

/*
 * A drop in any table wins over an accept in ours (nft(8)), and Docker sets iptables' FORWARD to drop. Where that
 * table is there, what our own table lets through is let through there as well; iptables-nft keeps such rules.
 */
static void print_foreign_family(FILE *f, struct nft_ctx *nft, const char *family, const char *comment,
                                 const char *device) {
        bool added = false;

        for (size_t i = 0; i < ARRAY_SIZE(foreign_chains); i++) {
                const char *chain = foreign_chains[i];
                if (!print_foreign_removal(f, nft, family, chain, comment) || added || !device)
                        continue;
                fprintf(f, "insert rule %s filter %s iifname %s accept %s\n", family, chain, device, comment);
                fprintf(f, "insert rule %s filter %s oifname %s accept %s\n", family, chain, device, comment);
                added = true;
        }
}

static void print_foreign(FILE *f, struct nft_ctx *nft, const struct configuration *c, const char *device) {
        _cleanup_free_ char *comment = text_format("comment \"berth_%u\"", c->index);

        for (size_t i = 0; comment && i < ARRAY_SIZE(foreign_families); i++)
                print_foreign_family(f, nft, foreign_families[i], comment, device);
}

static void print_set_host(FILE *f, struct nft_ctx *nft, const void *data) {
        const struct host_text *t = data;

        print_foreign(f, nft, t->configuration, t->device);
        print_host(f, t);
}

int ruleset_set_host(const struct configuration *configuration, int namespace, const char *device,
                     struct error *error) {
        return apply_in(namespace, print_set_host, &(struct host_text){ configuration, device }, error);
}

static void print_remove_host(FILE *f, struct nft_ctx *nft, const void *data) {
        const struct configuration *c = data;

        print_foreign(f, nft, c, NULL);
        fprintf(f, "table inet berth_%u\ndelete table inet berth_%u\n", c->index, c->index);
}

int ruleset_remove_host(const struct configuration *configuration, int namespace, struct error *error) {
        return apply_in(namespace, print_remove_host, configuration, error);
}

/* Whether the first of the others' chains that is there has our rules. */
static bool foreign_family_stands(struct nft_ctx *nft, const char *family, const char *comment) {
        for (size_t i = 0; i < ARRAY_SIZE(foreign_chains); i++) {
                _cleanup_free_ char *query = text_format("list chain %s filter %s", family, foreign_chains[i]);
                if (query && nft_run_cmd_from_buffer(nft, query) == 0)
                        return strstr(nft_ctx_get_output_buffer(nft), comment);
        }
        return true;
}

static bool foreign_stands(struct nft_ctx *nft, const struct configuration *c) {
        _cleanup_free_ char *comment = text_format("comment \"berth_%u\"", c->index);
        bool stands = true;

        for (size_t i = 0; comment && i < ARRAY_SIZE(foreign_families); i++)
                stands = stands && foreign_family_stands(nft, foreign_families[i], comment);
        return stands;
}

/* Changes nothing, and fails when something is missing: then the table that is asked for is none. */
static void print_check_host(FILE *f, struct nft_ctx *nft, const void *data) {
        const struct configuration *c = data;

        fprintf(f, "list table inet berth_%u%s\n", c->index, foreign_stands(nft, c) ? "" : "_is_incomplete");
}

bool ruleset_host_stands(const struct configuration *configuration, int namespace) {
        return apply_in(namespace, print_check_host, configuration, NULL) >= 0;
}
