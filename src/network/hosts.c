#include "network/hosts.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include "base/memory.h"

int hosts_list(const struct configuration *c, const struct ports *ports, struct dnsmasq_host **ret, size_t *ret_n) {
        size_t n = ports_count(ports), n_hosts = 0;

        _cleanup_free_ struct port_summary *summaries = calloc(n + 1, sizeof(*summaries));
        _cleanup_free_ struct dnsmasq_host *hosts = calloc(n + c->n_reservations + 1, sizeof(*hosts));
        if (!summaries || !hosts)
                return -ENOMEM;

        n = ports_summarize(ports, summaries, n);
        for (size_t i = 0; i < n; i++)
                hosts[n_hosts++] =
                        (struct dnsmasq_host){ summaries[i].mac, summaries[i].address, summaries[i].name };
        for (size_t i = 0; i < c->n_reservations; i++) {
                const struct reservation *reservation = &c->reservations[i];
                struct dnsmasq_host host = { reservation->mac, reservation->address,
                                             *reservation->name ? reservation->name : NULL };
                bool stands = false;
                for (size_t j = 0; j < n; j++) {
                        stands |= mac_equal(&hosts[j].mac, &host.mac);
                        if (host.name && hosts[j].name && strcasecmp(hosts[j].name, host.name) == 0)
                                host.name = NULL;
                        if (mac_equal(&hosts[j].mac, &host.mac) && !hosts[j].name)
                                hosts[j].name = host.name;
                }
                if (!stands)
                        hosts[n_hosts++] = host;
        }
        *ret = steal_ptr(hosts);
        *ret_n = n_hosts;
        return 0;
}
