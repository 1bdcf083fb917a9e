#include "network/ruleset-guard.h"

#include <string.h>

#include "base/memory.h"
#include "base/text.h"

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

void guard_print_port(FILE *f, const struct configuration *c, const struct ruleset_port *port) {
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
void guard_print_isolation(FILE *f, const struct ruleset_port *port) {
        fprintf(f, "add set bridge berth isolated { type ifname; }\n");
        fprintf(f, "add element bridge berth isolated { \"%s\" }\n", port->name);
        fprintf(f, "add chain bridge berth forward { type filter hook forward priority -300; }\n");
        fprintf(f, "flush chain bridge berth forward\n");
        fprintf(f, "add rule bridge berth forward iifname @isolated counter drop\n");
        fprintf(f, "add rule bridge berth forward oifname @isolated counter drop\n");
}

/* The guard's frame. What is not a port (the bridge itself) passes; a port is guarded before its device is up. */
void guard_print(FILE *f, const struct configuration *c) {
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

void guard_print_removal(FILE *f, struct nft_ctx *nft, const struct configuration *c,
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
