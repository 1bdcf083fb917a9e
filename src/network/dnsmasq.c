#include "network/dnsmasq.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "network/leftover.h"
#include "network/resolver.h"
#include "network/ruleset.h"
#include "network/service.h"

#define LEASE_TIME "12h"
#define DOMAIN "berth.internal"

struct dnsmasq {
        const struct configuration *configuration;
        struct service *service;
        char *program;
        char *configuration_path, *hosts_path, *dhcp_hosts_path, *leases_path, *note_path;
        void (*changed)(void *data);
        void *data;
};

/* What dnsmasq prints once it serves (main() in its dnsmasq.c), whichever of its parts are on. */
static bool says_started(const char *line) {
        return strstr(line, "started, version") || strstr(line, "started, DNS disabled");
}

static bool on_line(void *data, const char *line) {
        struct dnsmasq *dnsmasq = data;

        if (says_started(line)) {
                service_up(dnsmasq->service);
                /* A change of the files while it started may have come too early for it to hear. */
                service_signal(dnsmasq->service, SIGHUP);
        }
        return strstr(line, "warning") || strstr(line, "error") || strstr(line, "failed") ||
               strstr(line, "cannot") || strstr(line, "refused");
}

static void on_changed(void *data, enum service_state state) {
        struct dnsmasq *dnsmasq = data;

        dnsmasq->changed(dnsmasq->data);
}

static int spawn(void *data, int log_fd, pid_t *ret_pid, struct error *error) {
        struct dnsmasq *dnsmasq = data;
        _cleanup_free_ char *file = text_format("--conf-file=%s", dnsmasq->configuration_path);
        const char *argv[] = { dnsmasq->program, "--keep-in-foreground", file, NULL };

        return file ? service_execute(dnsmasq->note_path, argv, log_fd, ret_pid, error) : -ENOMEM;
}

static const struct service_ops service_ops = {
        .name = "dnsmasq",
        .spawn = spawn,
        .line = on_line,
        .changed = on_changed,
};

/* Whom dnsmasq becomes: in user mode the one user there is; else its own, where the distribution made one. */
static const char *user_name(const struct configuration *c) {
        if (!c->system)
                return "root";
        return getpwnam("dnsmasq") ? "dnsmasq" : "nobody";
}

static void print_dns(FILE *f, const struct configuration *c, const struct dnsmasq *dnsmasq) {
        char subnet[INET_ADDRSTRLEN], prefix[INET6_ADDRSTRLEN];

        if (!c->dns) {
                fprintf(f, "port=0\n");
                return;
        }
        /* Names of ours are answered here, and nothing of ours is asked of the outside. */
        fprintf(f, "no-resolv\nno-hosts\naddn-hosts=%s\nexpand-hosts\n", dnsmasq->hosts_path);
        fprintf(f, "domain=berth.internal\nlocal=/berth.internal/\ndomain=berth.internal,%s/%d,local\n",
                ipv4_format(c->gateway & c->mask, subnet), ipv4_mask_length(c->mask));
        if (c->ipv6)
                fprintf(f, "domain=berth.internal,%s/64,local\n", ipv6_format(&c->prefix, prefix));
        if (c->mode == NETWORK_SHARED)
                fprintf(f, "server=127.0.0.1#%d\n", RESOLVER_PORT);
        fprintf(f, "cache-size=1000\n");
}

static void print_dhcp(FILE *f, const struct configuration *c, const struct dnsmasq *dnsmasq) {
        char start[INET_ADDRSTRLEN], end[INET_ADDRSTRLEN], mask[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN];
        uint32_t base = c->gateway & c->mask;

        if (!c->dhcp)
                return;
        fprintf(f, "dhcp-range=%s,%s,%s," LEASE_TIME "\n", ipv4_format(base + 1, start),
                ipv4_format((base | ~c->mask) - 1, end), ipv4_format(c->mask, mask));
        fprintf(f, "dhcp-authoritative\ndhcp-rapid-commit\nno-ping\ndhcp-lease-max=65534\n");
        /* Clones of one image send one client id: the MAC is what tells VMs apart. A name is given, never taken. */
        fprintf(f, "dhcp-ignore-clid\ndhcp-ignore-names\n");
        fprintf(f, "dhcp-hostsfile=%s\ndhcp-leasefile=%s\n", dnsmasq->dhcp_hosts_path, dnsmasq->leases_path);
        /* A network without an outside is nobody's default route. */
        if (c->mode == NETWORK_HOST)
                fprintf(f, "dhcp-option=option:router\n");
        else
                fprintf(f, "dhcp-option=option:router,%s\n", ipv4_format(c->gateway, gateway));
        if (c->dns)
                fprintf(f, "dhcp-option=option:dns-server,%s\n", ipv4_format(c->gateway, gateway));
        else
                fprintf(f, "dhcp-option=option:dns-server\n");
        fprintf(f, "dhcp-option=option:domain-search,berth.internal\n");
        fprintf(f, "dhcp-option=option:mtu,%u\n", c->mtu);
}

static void print_ipv6(FILE *f, const struct configuration *c) {
        char first[INET6_ADDRSTRLEN], last[INET6_ADDRSTRLEN], gateway[INET6_ADDRSTRLEN];
        struct in6_addr a = configuration_address6(c, 2), b = configuration_address6(c, 0xffff),
                        g = configuration_address6(c, 1);

        if (!c->ipv6 || (!c->dhcp && !c->router_advertisement))
                return;
        ipv6_format(&a, first);
        ipv6_format(&b, last);
        if (c->dhcp)
                fprintf(f, "dhcp-range=%s,%s%s,64," LEASE_TIME "\n", first, last,
                        c->router_advertisement ? ",slaac,ra-names" : "");
        else
                fprintf(f, "dhcp-range=%s,ra-only,ra-names,64," LEASE_TIME "\n", first);
        if (c->router_advertisement)
                fprintf(f, "enable-ra\nra-param=" RULESET_BRIDGE ",mtu:%u,60,%d\n", c->mtu,
                        c->mode == NETWORK_HOST ? 0 : 1800);
        if (c->dns) {
                fprintf(f, "dhcp-option=option6:dns-server,[%s]\n", ipv6_format(&g, gateway));
                fprintf(f, "dhcp-option=option6:domain-search,berth.internal\n");
        }
}

static int write_configuration(struct dnsmasq *dnsmasq, struct error *error) {
        const struct configuration *c = dnsmasq->configuration;
        _cleanup_free_ char *text = NULL;
        size_t size = 0;

        FILE *f = open_memstream(&text, &size);
        if (!f)
                return -ENOMEM;
        fprintf(f, "# Made by berth-network for the network %s, and made anew at each start of it.\n", c->name);
        fprintf(f, "log-facility=-\npid-file=\nuser=%s\n", user_name(c));
        /* No group: setgroups(2) is denied in a user namespace that an ordinary user made. */
        if (!c->system)
                fprintf(f, "group=\n");
        fprintf(f, "interface=" RULESET_BRIDGE "\nexcept-interface=lo\nbind-dynamic\n");
        fprintf(f, "quiet-dhcp\nquiet-dhcp6\nquiet-ra\n");
        print_dns(f, c, dnsmasq);
        print_dhcp(f, c, dnsmasq);
        print_ipv6(f, c);
        if (fclose(f) != 0)
                return -ENOMEM;
        return file_write(dnsmasq->configuration_path, text, size, 0644, false, error);
}

int dnsmasq_new(struct dnsmasq **ret, struct loop *loop, const struct configuration *configuration,
                void (*changed)(void *data), void *data, struct error *error) {
        struct dnsmasq *dnsmasq = calloc(1, sizeof(*dnsmasq));
        if (!dnsmasq)
                return -ENOMEM;

        *dnsmasq = (struct dnsmasq){ .configuration = configuration, .changed = changed, .data = data };
        dnsmasq->configuration_path = text_format("%s/dnsmasq.conf", configuration->runtime_directory);
        dnsmasq->hosts_path = text_format("%s/hosts", configuration->runtime_directory);
        dnsmasq->dhcp_hosts_path = text_format("%s/dhcp-hosts", configuration->runtime_directory);
        dnsmasq->leases_path = text_format("%s/dnsmasq.leases", configuration->state_directory);
        dnsmasq->note_path = text_format("%s/dnsmasq.pid", configuration->state_directory);
        dnsmasq->program = process_find_program("dnsmasq", NULL);

        int r = -ENOMEM;
        if (!dnsmasq->configuration_path || !dnsmasq->hosts_path || !dnsmasq->dhcp_hosts_path ||
            !dnsmasq->leases_path || !dnsmasq->note_path)
                error_set(error, r, "no memory for dnsmasq's paths");
        else if (!dnsmasq->program)
                r = error_set(error, -ENOENT, "dnsmasq is not installed (the package is dnsmasq-base)");
        else
                r = write_configuration(dnsmasq, error);
        if (r >= 0)
                r = service_new(&dnsmasq->service, loop, &service_ops, dnsmasq);
        if (r < 0) {
                dnsmasq_free(dnsmasq);
                return r;
        }
        *ret = dnsmasq;
        return 0;
}

struct dnsmasq *dnsmasq_free(struct dnsmasq *dnsmasq) {
        if (!dnsmasq)
                return NULL;
        service_free(dnsmasq->service);
        free(dnsmasq->program);
        free(dnsmasq->configuration_path);
        free(dnsmasq->hosts_path);
        free(dnsmasq->dhcp_hosts_path);
        free(dnsmasq->leases_path);
        free(dnsmasq->note_path);
        free(dnsmasq);
        return NULL;
}

void dnsmasq_start(struct dnsmasq *dnsmasq) {
        /* It would hold the addresses, or from a namespace that is lost write into our lease file. */
        leftover_end(dnsmasq->note_path, "dnsmasq");
        service_start(dnsmasq->service);
}

bool dnsmasq_is_up(const struct dnsmasq *dnsmasq) {
        return service_state(dnsmasq->service) == SERVICE_UP;
}

const char *dnsmasq_message(const struct dnsmasq *dnsmasq) {
        return service_message(dnsmasq->service);
}

json_t *dnsmasq_describe(const struct dnsmasq *dnsmasq) {
        return service_describe(dnsmasq->service);
}

static void print_host(FILE *hosts, FILE *dhcp, const struct configuration *c, const struct dnsmasq_host *host) {
        char mac[MAC_TEXT_SIZE], address[INET_ADDRSTRLEN], address6[INET6_ADDRSTRLEN];

        mac_format(&host->mac, mac);
        if (!host->address)
                return;
        ipv4_format(host->address, address);
        fprintf(dhcp, "%s,%s", mac, address);
        if (c->ipv6) {
                struct in6_addr a = configuration_address6(c, host->address & ~c->mask);
                fprintf(dhcp, ",[%s]", ipv6_format(&a, address6));
        }
        if (host->name) {
                /* A name alone may be taken for a time ("45m") or a keyword ("ignore"). */
                fprintf(dhcp, ",%s." DOMAIN, host->name);
                fprintf(hosts, "%s %s\n", address, host->name);
        }
        fprintf(dhcp, "\n");
}

int dnsmasq_set_hosts(struct dnsmasq *dnsmasq, const struct dnsmasq_host *hosts, size_t n_hosts, bool host6,
                      struct error *error) {
        const struct configuration *c = dnsmasq->configuration;
        _cleanup_free_ char *names = NULL, *leases = NULL;
        size_t names_size = 0, leases_size = 0;
        char text[INET6_ADDRSTRLEN];
        struct in6_addr gateway6 = configuration_address6(c, 1);

        FILE *f = open_memstream(&names, &names_size), *g = open_memstream(&leases, &leases_size);
        if (!f || !g) {
                if (f)
                        fclose(f);
                return -ENOMEM;
        }
        fprintf(f, "%s host gateway\n", ipv4_format(c->gateway, text));
        if (c->ipv6 && host6)
                fprintf(f, "%s host gateway\n", ipv6_format(&gateway6, text));
        for (size_t i = 0; i < n_hosts; i++)
                print_host(f, g, c, &hosts[i]);
        if ((fclose(f) | fclose(g)) != 0)
                return -ENOMEM;

        int r = file_write(dnsmasq->hosts_path, names, names_size, 0644, false, error);
        if (r >= 0)
                r = file_write(dnsmasq->dhcp_hosts_path, leases, leases_size, 0644, false, error);
        if (r >= 0)
                service_signal(dnsmasq->service, SIGHUP);
        return r;
}
