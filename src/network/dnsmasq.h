/* Dnsmasq: DHCPv4, DHCPv6, router advertisements and DNS for one network. */
#pragma once

#include <jansson.h>

#include "loop/loop.h"
#include "network/configuration.h"

/*
 * Every VM's address is known before it asks: it stands in `dhcp-hosts`, by MAC, and its name in `hosts`. Both files
 * are rewritten whole and dnsmasq is told to read them again, so what it serves is what the files say, whatever
 * was killed in between.
 */
struct dnsmasq;

struct dnsmasq_host {
        struct mac mac;
        uint32_t address;
        const char *name; /* NULL: none */
};

/* Checks that the program is there and writes its configuration; starts nothing. `changed` is told of each change of
 * state. The configuration is borrowed. */
int dnsmasq_new(struct dnsmasq **ret, struct loop *loop, const struct configuration *configuration,
                void (*changed)(void *data), void *data, struct error *error);
/* Ends the program. Its lease file stays: guests that are still there keep what they have. */
struct dnsmasq *dnsmasq_free(struct dnsmasq *dnsmasq);

void dnsmasq_start(struct dnsmasq *dnsmasq);
bool dnsmasq_is_up(const struct dnsmasq *dnsmasq);
/* Why it is not, or "". */
const char *dnsmasq_message(const struct dnsmasq *dnsmasq);
json_t *dnsmasq_describe(const struct dnsmasq *dnsmasq);

/* All the VMs there are, and whether the host can be reached over IPv6 (then it has a name there too). */
int dnsmasq_set_hosts(struct dnsmasq *dnsmasq, const struct dnsmasq_host *hosts, size_t n_hosts, bool host6,
                      struct error *error);
