/* Ruleset's table in the host's namespace, and what other firewalls there are to let through; see ruleset.h. */
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "network/nftables.h"
#include "network/ruleset.h"

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
        return nftables_apply(namespace, print_set_host, &(struct host_text){ configuration, device }, error);
}

static void print_remove_host(FILE *f, struct nft_ctx *nft, const void *data) {
        const struct configuration *c = data;

        print_foreign(f, nft, c, NULL);
        fprintf(f, "table inet berth_%u\ndelete table inet berth_%u\n", c->index, c->index);
}

int ruleset_remove_host(const struct configuration *configuration, int namespace, struct error *error) {
        return nftables_apply(namespace, print_remove_host, configuration, error);
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
        return nftables_apply(namespace, print_check_host, configuration, NULL) >= 0;
}
