#include "network/network.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "network/addresses.h"
#include "network/broker.h"
#include "network/dnsmasq.h"
#include "network/firewall.h"
#include "network/forwards.h"
#include "network/hosts.h"
#include "network/leases.h"
#include "network/listing.h"
#include "network/ports.h"
#include "network/resolver.h"
#include "network/router.h"
#include "network/uplink.h"
#include "network/watch.h"

/* Microseconds for dnsmasq and the uplink: what a busy machine may need, and less than the broker's patience, which
 * ends without a reason. */
#define START_PATIENCE 8000000ULL
#define PORTS_DELAY 1000ULL /* behind a change of devices: a start makes several */
#define HOST_DELAY 50000ULL /* behind a change of the host's addresses and routes */
#define RULES_DELAY 200000ULL /* behind a change of its rules: a reload flushes first, and then sets */

struct network {
        struct loop *loop;
        struct network_parts parts;
        struct links *links;
        struct addresses *addresses;
        struct ports *ports;
        struct forwards *forwards;
        struct leases *leases;
        struct resolver *resolver; /* NULL: no DNS, or none of the outside */
        struct dnsmasq *dnsmasq; /* NULL: nothing for it to do */
        const struct uplink_ops *uplink_ops;
        void *uplink;
        struct firewall *firewall;
        struct watch *watch, *host_watch, *rules_watch;
        struct broker *broker;
        struct source *start_timer, *idle_timer, *outpost_source;
        bool ready;
        uint64_t idle_since; /* loop_now; 0: not idle */
};

static void set_hosts(struct network *network) {
        _cleanup_free_ struct dnsmasq_host *hosts = NULL;
        struct error error = ERROR_INIT;
        size_t n;

        if (!network->dnsmasq || hosts_list(&network->parts.configuration, network->ports, &hosts, &n) < 0)
                return;
        bool host6 = !IN6_IS_ADDR_UNSPECIFIED(&firewall_uplink(network->firewall)->host6);
        if (dnsmasq_set_hosts(network->dnsmasq, hosts, n, host6, &error) < 0)
                log_warning("%s", error.text);
}

static void on_ports_changed(void *data) {
        set_hosts(data);
}

static void on_forward_added(void *data) {
        struct network *network = data;

        broker_tell_forward(network->broker);
}

static void on_forward_removed(void *data, uint64_t lease, unsigned number) {
        struct network *network = data;

        broker_tell_forward_ended(network->broker, lease, number);
}

static void check_ready(struct network *network) {
        /* Before there is a broker to tell, the uplink may already have failed. */
        if (network->ready || !network->broker || (network->dnsmasq && !dnsmasq_is_up(network->dnsmasq)))
                return;
        /* An uplink that cannot come up yet (a host without a network) is told by `list`, and is no reason to wait. */
        if (!network->uplink_ops->is_up(network->uplink) && !*network->uplink_ops->message(network->uplink))
                return;
        network->ready = true;
        source_disarm(network->start_timer);
        if (leases_count(network->leases) == 0) {
                network->idle_since = loop_now();
                source_arm(network->idle_timer, network->parts.configuration.idle_timeout);
        }
        log_info("ready");
        broker_tell_ready(network->broker);
}

static void on_dnsmasq_changed(void *data) {
        check_ready(data);
}

static void on_uplink_changed(void *data) {
        struct network *network = data;
        struct ruleset_uplink rules = network->uplink_ops->rules(network->uplink);
        struct error error = ERROR_INIT;

        if (memcmp(&rules, firewall_uplink(network->firewall), sizeof(rules)) != 0) {
                if (firewall_set(network->firewall, &rules, &error) < 0)
                        log_warning("%s", error.text);
                set_hosts(network);
        }
        check_ready(network);
}

static void on_devices(void *data) {
        struct network *network = data;

        ports_look(network->ports);
        network->uplink_ops->look(network->uplink);
}

static void on_host(void *data) {
        struct network *network = data;
        struct error error = ERROR_INIT;

        if (firewall_look(network->firewall, &error) < 0)
                log_warning("%s", error.text);
        network->uplink_ops->look(network->uplink);
}

static void on_host_rules(void *data) {
        struct network *network = data;

        network->uplink_ops->look_at_rules(network->uplink);
}

static int on_start_timer(struct source *source, void *data) {
        struct network *network = data;
        const char *reason = network->dnsmasq && !dnsmasq_is_up(network->dnsmasq) ?
                                     dnsmasq_message(network->dnsmasq) :
                                     "the uplink did not come up";
        _cleanup_free_ char *text = text_format("the network did not start within %u seconds: %s",
                                                (unsigned)(START_PATIENCE / 1000000), reason);

        log_error("%s", text);
        broker_tell_failed(network->broker, text);
        network_retire(network);
        return 0;
}

static int on_idle_timer(struct source *source, void *data) {
        struct network *network = data;

        if (!broker_tell_idle(network->broker))
                network_retire(network);
        return 0;
}

static void on_idle(void *data, bool idle) {
        struct network *network = data;

        network->idle_since = idle ? loop_now() : 0;
        if (!network->ready)
                return;
        if (idle)
                source_arm(network->idle_timer, network->parts.configuration.idle_timeout);
        else
                source_disarm(network->idle_timer);
}

static void on_lease_ended(void *data, uint64_t lease) {
        struct network *network = data;

        broker_tell_lease_ended(network->broker, lease);
}

static void on_broker_arrived(void *data) {
        struct network *network = data;

        /* Which the one before may not have heard. */
        if (leases_count(network->leases) == 0)
                source_arm(network->idle_timer, network->parts.configuration.idle_timeout);
}

static json_t *on_list(void *data, uint64_t serial) {
        struct network *network = data;
        const struct listing_parts parts = {
                .ports = network->ports,
                .forwards = network->forwards,
                .uplink_ops = network->uplink_ops,
                .uplink = network->uplink,
                .dnsmasq = network->dnsmasq,
                .idle_since = network->idle_since,
                .idle_timeout = network->parts.configuration.idle_timeout,
        };

        return listing_make(serial, &parts);
}

static void on_retire(void *data) {
        network_retire(data);
}

/* It cannot be made again from inside the namespaces. The broker starts another process, which takes over. */
static int on_outpost_ended(struct source *source, const siginfo_t *info, void *data) {
        log_error("the process that this one left in the host's namespaces has ended: a new pair is to take over");
        return -ECHILD;
}

static int watch_outpost(struct network *network, struct error *error) {
        int pidfd = outpost_open_process(network->parts.outpost);
        if (pidfd < 0)
                return error_errno(error, pidfd, "watching the process in the host's namespaces");

        int r = loop_add_child(network->loop, &network->outpost_source, pidfd, on_outpost_ended, network);
        return r < 0 ? error_errno(error, r, "watching the process in the host's namespaces") : 0;
}

static uint32_t find_vm(void *data, const char *name) {
        struct network *network = data;

        return ports_find_address(network->ports, name);
}

/* The parts that only keep books, and then those that touch the namespace. */
static int make_books(struct network *network, struct error *error) {
        const struct configuration *c = &network->parts.configuration;
        const struct ports_context ports = { c, network->links, network->addresses, on_ports_changed, network };

        int r = ports_new(&network->ports, &ports);
        if (r < 0)
                return r;
        const struct forwards_context forwards = { network->loop, find_vm, on_forward_added, on_forward_removed,
                                                   network };
        r = forwards_new(&network->forwards, &forwards);
        if (r >= 0)
                r = firewall_new(&network->firewall, c, network->parts.host_links, network->ports);
        if (r < 0)
                return r;
        const struct leases_context leases = {
                .loop = network->loop,
                .configuration = c,
                .ports = network->ports,
                .forwards = network->forwards,
                .ended = on_lease_ended,
                .idle = on_idle,
                .data = network,
        };
        r = leases_new(&network->leases, &leases);
        return r < 0 ? r : ports_adopt(network->ports, error);
}

static int make_services(struct network *network, struct error *error) {
        const struct configuration *c = &network->parts.configuration;
        int r = 0;

        if (c->dns && c->mode == NETWORK_SHARED)
                r = resolver_new(&network->resolver, network->loop, network->parts.outpost, error);
        if (r >= 0 && (c->dns || c->dhcp || (c->ipv6 && c->router_advertisement)))
                r = dnsmasq_new(&network->dnsmasq, network->loop, c, on_dnsmasq_changed, network, error);
        if (r < 0)
                return r;

        const struct uplink_context uplink = {
                .loop = network->loop,
                .configuration = c,
                .links = network->links,
                .host_links = network->parts.host_links,
                .namespace = network->parts.namespace.network,
                .user_namespace = network->parts.namespace.user,
                .host_namespace = network->parts.host_namespace,
                .outpost = network->parts.outpost,
                .changed = on_uplink_changed,
                .data = network,
        };
        const struct uplink_ops *ops = c->system ? &uplink_veth : &uplink_pasta;
        r = ops->new(&network->uplink, &uplink, error);
        if (r >= 0)
                network->uplink_ops = ops;
        return r;
}

static int make_watches(struct network *network, struct error *error) {
        int r = watch_new(&network->watch, network->loop, socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE),
                          RTMGRP_LINK | RTMGRP_IPV4_ROUTE, PORTS_DELAY, on_devices, network, error);
        if (r < 0)
                return r;
        r = watch_new(&network->host_watch, network->loop,
                      outpost_socket(network->parts.outpost, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE),
                      RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
                      HOST_DELAY, on_host, network, error);
        if (r < 0 || !network->uplink_ops->look_at_rules)
                return r;
        return watch_new(&network->rules_watch, network->loop,
                         outpost_socket(network->parts.outpost, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER),
                         1U << (NFNLGRP_NFTABLES - 1), RULES_DELAY, on_host_rules, network, error);
}

static int make_broker(struct network *network, struct error *error) {
        const struct broker_context broker = {
                .loop = network->loop,
                .configuration = &network->parts.configuration,
                .namespace = &network->parts.namespace,
                .leases = network->leases,
                .forwards = network->forwards,
                .arrived = on_broker_arrived,
                .list = on_list,
                .retire = on_retire,
                .data = network,
        };

        int r = broker_new(&network->broker, &broker, error);
        return r < 0 ? r : broker_take(network->broker, steal_ptr(network->parts.broker));
}

static int set_firewall(struct network *network, struct error *error) {
        struct ruleset_uplink rules = network->uplink_ops->rules(network->uplink);

        return firewall_set(network->firewall, &rules, error);
}

static int start(struct network *network, struct error *error) {
        const struct configuration *c = &network->parts.configuration;

        int r = tap_check(error);
        if (r >= 0)
                r = links_new(&network->links, error);
        if (r >= 0)
                r = router_set_up(c, network->links, error);
        if (r >= 0)
                r = addresses_new(&network->addresses, c, error);
        if (r >= 0)
                r = make_books(network, error);
        if (r >= 0)
                r = make_services(network, error);
        if (r >= 0)
                r = make_watches(network, error);
        if (r >= 0)
                r = watch_outpost(network, error);
        if (r >= 0)
                r = loop_add_timer(network->loop, &network->start_timer, on_start_timer, network);
        if (r >= 0)
                r = loop_add_timer(network->loop, &network->idle_timer, on_idle_timer, network);
        /* dnsmasq takes the longest and needs none of what follows, but for its files. */
        if (r >= 0 && network->dnsmasq) {
                set_hosts(network);
                dnsmasq_start(network->dnsmasq);
        }
        if (r >= 0)
                r = network->uplink_ops->start(network->uplink, error);
        if (r >= 0)
                r = set_firewall(network, error);
        if (r >= 0)
                r = make_broker(network, error);
        return r;
}

int network_new(struct network **ret, struct loop *loop, struct network_parts *consume_parts, struct error *error) {
        struct network *network = calloc(1, sizeof(*network));
        if (!network)
                return -ENOMEM;

        network->loop = loop;
        network->parts = *consume_parts;
        *consume_parts = (struct network_parts){ .host_namespace = -1, .namespace = NAMESPACE_INIT };

        int r = start(network, error);
        if (r < 0) {
                if (network->uplink)
                        network->uplink_ops->stop(network->uplink);
                /* The caller tells the broker why. */
                consume_parts->broker = steal_ptr(network->parts.broker);
                network_free(network);
                return r;
        }
        source_arm(network->start_timer, START_PATIENCE);
        set_hosts(network);
        on_devices(network);
        check_ready(network);
        *ret = network;
        return 0;
}

struct network *network_free(struct network *network) {
        if (!network)
                return NULL;
        broker_free(network->broker);
        source_free(network->start_timer);
        source_free(network->idle_timer);
        source_free(network->outpost_source);
        watch_free(network->watch);
        watch_free(network->host_watch);
        watch_free(network->rules_watch);
        if (network->uplink)
                network->uplink_ops->free(network->uplink);
        dnsmasq_free(network->dnsmasq);
        resolver_free(network->resolver);
        leases_free(network->leases);
        forwards_free(network->forwards);
        firewall_free(network->firewall);
        ports_free(network->ports);
        addresses_free(network->addresses);
        links_free(network->links);
        wire_free(network->parts.broker);
        links_free(network->parts.host_links);
        outpost_free(network->parts.outpost);
        namespace_deinit(&network->parts.namespace);
        fd_close(network->parts.host_namespace);
        configuration_deinit(&network->parts.configuration);
        free(network);
        return NULL;
}

void network_retire(struct network *network) {
        const char *directory = network->parts.configuration.runtime_directory;
        struct error error = ERROR_INIT;

        network->uplink_ops->stop(network->uplink);
        network->dnsmasq = dnsmasq_free(network->dnsmasq);
        if (file_remove_tree(directory, &error) < 0)
                log_warning("%s", error.text);
        log_info("removed");
        loop_exit(network->loop, 0);
}
