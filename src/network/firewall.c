#include "network/firewall.h"

#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/text.h"
#include "network/host-addresses.h"
#include "network/other-networks.h"

/* A list for each address family, as it is in the rules. */
struct lists {
        char *list4, *list6;
};

struct firewall {
        const struct configuration *configuration;
        struct links *host_links;
        const struct ports *ports;
        struct ruleset_uplink uplink;
        struct lists host, others; /* the host's addresses; the subnets of other networks */
};

static void lists_replace(struct lists *lists, char *consume_list4, char *consume_list6) {
        free(lists->list4);
        free(lists->list6);
        *lists = (struct lists){ consume_list4, consume_list6 };
}

int firewall_new(struct firewall **ret, const struct configuration *configuration, struct links *host_links,
                 const struct ports *ports) {
        struct firewall *firewall = calloc(1, sizeof(*firewall));
        if (!firewall)
                return -ENOMEM;

        firewall->configuration = configuration;
        firewall->host_links = host_links;
        firewall->ports = ports;
        *ret = firewall;
        return 0;
}

struct firewall *firewall_free(struct firewall *firewall) {
        if (!firewall)
                return NULL;
        lists_replace(&firewall->host, NULL, NULL);
        lists_replace(&firewall->others, NULL, NULL);
        free(firewall);
        return NULL;
}

/* In system mode the host's rules keep networks apart; what comes through pasta is the host's own to them. With
 * `anew` the rules' lists are empty, whatever they were before. */
static int set_other_networks(struct firewall *firewall, bool anew, struct error *error) {
        _cleanup_free_ char *list4 = NULL, *list6 = NULL;
        const char *applied4 = anew ? "" : firewall->others.list4, *applied6 = anew ? "" : firewall->others.list6;

        if (firewall->configuration->system)
                return 0;
        int r = other_networks_list(firewall->host_links, &list4, &list6, error);
        if (r < 0)
                return r;
        if (!text_equal(list4, applied4) || !text_equal(list6, applied6))
                r = ruleset_set_other_networks(list4, list6, error);
        if (r < 0)
                return r;
        lists_replace(&firewall->others, steal_ptr(list4), steal_ptr(list6));
        return 0;
}

/* With `always` also where they are the same as before, for the rules are others. */
static int set_host_addresses(struct firewall *firewall, bool always, struct error *error) {
        _cleanup_free_ char *list4 = NULL, *list6 = NULL;

        int r = host_addresses_list(firewall->host_links, &list4, &list6, error);
        if (r < 0)
                return r;
        if (!always && text_equal(list4, firewall->host.list4) && text_equal(list6, firewall->host.list6))
                return 0;
        r = ruleset_set_host_addresses(list4, list6, error);
        if (r < 0)
                return r;
        lists_replace(&firewall->host, steal_ptr(list4), steal_ptr(list6));
        return 0;
}

int firewall_set(struct firewall *firewall, const struct ruleset_uplink *uplink, struct error *error) {
        size_t n = ports_count(firewall->ports);

        _cleanup_free_ struct port_summary *ports = calloc(n + 1, sizeof(*ports));
        _cleanup_free_ struct ruleset_port *rules = calloc(n + 1, sizeof(*rules));
        if (!ports || !rules)
                return -ENOMEM;
        n = ports_summarize(firewall->ports, ports, n);
        for (size_t i = 0; i < n; i++)
                rules[i] = (struct ruleset_port){ ports[i].port, ports[i].mac, ports[i].address, ports[i].isolated };

        firewall->uplink = *uplink;
        int r = ruleset_set_network(firewall->configuration, uplink, rules, n, error);
        if (r >= 0)
                r = set_host_addresses(firewall, true, error);
        return r < 0 ? r : set_other_networks(firewall, true, error);
}

int firewall_look(struct firewall *firewall, struct error *error) {
        int r = set_host_addresses(firewall, false, error);

        return r < 0 ? r : set_other_networks(firewall, false, error);
}

const struct ruleset_uplink *firewall_uplink(const struct firewall *firewall) {
        return &firewall->uplink;
}
