/* The uplink of system mode: a veth pair, the host's routing, and masquerading. */

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "network/uplink.h"

/*
 * All networks share the host's end address, 169.254.64.1/32, each on its own veth: what tells them apart are the
 * routes to their subnets, so no further address range is taken. Over IPv6 the two ends meet on fe80::1 and fe80::2,
 * and the host has the installation's own address on each veth.
 */
struct veth {
        struct uplink_context context;
        char device[LINK_NAME_MAX]; /* the host's end */
        bool up;
        char message[480];
};

static const struct in6_addr any6 = {};
static const struct in6_addr host_link_local = { .s6_addr = { 0xfe, 0x80, [15] = 1 } };
static const struct in6_addr network_link_local = { .s6_addr = { 0xfe, 0x80, [15] = 2 } };

static int veth_new(void **ret, const struct uplink_context *context, struct error *error) {
        struct veth *veth = calloc(1, sizeof(*veth));

        if (!veth)
                return -ENOMEM;
        veth->context = *context;
        snprintf(veth->device, sizeof(veth->device), "berth%u", context->configuration->index);
        *ret = veth;
        return 0;
}

static void veth_free(void *uplink) {
        free(uplink);
}

/*
 * The host becomes a router. A host that takes its own IPv6 default route from router advertisements would lose it
 * by that, unless its devices are told to go on listening (accept_ra 2; Documentation/networking/ip-sysctl).
 */
static void keep_router_advertisements(const struct link *link, void *data) {
        char path[128], value[8] = "";

        snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", link->name);
        FILE *f = fopen(path, "re");
        if (!f)
                return;
        if (fgets(value, sizeof(value), f) && value[0] == '1')
                file_write_in_place(path, "2", NULL);
        fclose(f);
}

/* Makes the host a router. Settings below /proc/sys/net are those of the namespace of whoever opens them. */
static int route_host(struct veth *veth, struct error *error) {
        const char *const names[] = { "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding" };
        int r = 0;

        if (setns(veth->context.host_namespace, CLONE_NEWNET) < 0)
                return error_errno(error, -errno, "entering the host's network namespace");
        links_dump(veth->context.host_links, keep_router_advertisements, NULL, NULL);
        for (size_t i = 0; i < ARRAY_SIZE(names) && r >= 0; i++)
                if (i == 0 || veth->context.configuration->ipv6)
                        r = file_write_in_place(names[i], "1", error);
        /* A process that is root in a namespace it holds open can always go back to it. */
        if (setns(veth->context.namespace, CLONE_NEWNET) < 0)
                abort();
        return r;
}

/* The end in the network's namespace. */
static int set_inner(struct veth *veth, struct error *error) {
        const struct configuration *c = veth->context.configuration;
        struct links *links = veth->context.links;
        struct in6_addr gateway6 = configuration_address6(c, 1);

        int r = links_set_up(links, RULESET_UPLINK, error);
        if (r >= 0)
                r = links_add_address4(links, RULESET_UPLINK, UPLINK_NETWORK4, 32, error);
        /* What the namespace itself sends out (dnsmasq, for one) bears the gateway's address: it alone is unique. */
        if (r >= 0)
                r = links_add_route4(links, UPLINK_HOST4, 32, 0, RULESET_UPLINK, c->gateway, error);
        if (r >= 0)
                r = links_add_route4(links, 0, 0, UPLINK_HOST4, RULESET_UPLINK, c->gateway, error);
        if (r >= 0 && c->ipv6) {
                r = links_add_address6(links, RULESET_UPLINK, &network_link_local, 64, error);
                if (r >= 0)
                        r = links_add_route6(links, &any6, 0, &host_link_local, RULESET_UPLINK, &gateway6, error);
        }
        return r;
}

/* The host's end, and its routes to the network. */
static int set_outer(struct veth *veth, struct error *error) {
        const struct configuration *c = veth->context.configuration;
        struct links *links = veth->context.host_links;

        int r = links_set_up(links, veth->device, error);
        if (r >= 0)
                r = links_add_address4(links, veth->device, UPLINK_HOST4, 32, error);
        if (r >= 0)
                r = links_add_route4(links, c->gateway & c->mask, (unsigned)ipv4_mask_length(c->mask), UPLINK_NETWORK4,
                                     veth->device, UPLINK_HOST4, error);
        if (r >= 0 && c->ipv6) {
                r = links_add_address6(links, veth->device, &host_link_local, 64, error);
                if (r >= 0)
                        r = links_add_address6(links, veth->device, &c->host6, 128, error);
                if (r >= 0)
                        r = links_add_route6(links, &c->prefix, 64, &network_link_local, veth->device, &c->host6,
                                             error);
        }
        return r;
}

static int set_all(struct veth *veth, struct error *error) {
        struct uplink_context *context = &veth->context;

        /* One half without the other is left by a crash of an earlier time. */
        if (links_find(context->links, RULESET_UPLINK) < 0) {
                int r = links_delete(context->host_links, veth->device, error);
                if (r >= 0)
                        r = links_add_veth(context->host_links, veth->device, RULESET_UPLINK, context->namespace, 65520,
                                           error);
                if (r < 0)
                        return r;
        }
        int r = ruleset_set_host(context->configuration, context->host_namespace, veth->device, error);
        if (r >= 0)
                r = set_inner(veth, error);
        if (r >= 0)
                r = set_outer(veth, error);
        if (r >= 0)
                r = route_host(veth, error);
        return r;
}

static int veth_start(void *uplink, struct error *error) {
        struct veth *veth = uplink;

        int r = set_all(veth, error);
        if (r < 0)
                return error_prefix(error, "the uplink");
        veth->up = true;
        return 0;
}

static void veth_stop(void *uplink) {
        struct veth *veth = uplink;
        struct error error = ERROR_INIT;

        if (links_delete(veth->context.host_links, veth->device, &error) < 0)
                log_warning("%s", error.text);
        if (ruleset_remove_host(veth->context.configuration, veth->context.host_namespace, &error) < 0)
                log_warning("%s", error.text);
        veth->up = false;
}

/* Someone may have taken our device or our routes away: what is missing is put back, and what is there is left. */
static void veth_look(void *uplink) {
        struct veth *veth = uplink;
        struct error error = ERROR_INIT;
        bool was_up = veth->up;

        if (links_find(veth->context.links, RULESET_UPLINK) >= 0 &&
            links_find(veth->context.host_links, veth->device) >= 0) {
                veth->up = set_outer(veth, &error) >= 0;
        } else {
                log_warning("the device %s is gone from the host: it is made again", veth->device);
                veth->up = set_all(veth, &error) >= 0;
        }
        snprintf(veth->message, sizeof(veth->message), "%s", veth->up ? "" : error.text);
        if (was_up != veth->up)
                veth->context.changed(veth->context.data);
}

static void veth_look_at_rules(void *uplink) {
        struct veth *veth = uplink;
        struct error error = ERROR_INIT;

        if (!veth->up || ruleset_host_stands(veth->context.configuration, veth->context.host_namespace))
                return;
        log_warning("the host's rules for this network were flushed: they are set again");
        if (ruleset_set_host(veth->context.configuration, veth->context.host_namespace, veth->device, &error) < 0)
                log_warning("%s", error.text);
}

static struct ruleset_uplink veth_rules(const void *uplink) {
        const struct veth *veth = uplink;
        struct ruleset_uplink rules = { .host4 = UPLINK_HOST4 };

        if (veth->context.configuration->ipv6)
                rules.host6 = veth->context.configuration->host6;
        return rules;
}

static bool veth_is_up(const void *uplink) {
        return ((const struct veth *)uplink)->up;
}

static const char *veth_message(const void *uplink) {
        return ((const struct veth *)uplink)->message;
}

static json_t *veth_describe(const void *uplink) {
        return json_pack("{ss}", "device", ((const struct veth *)uplink)->device);
}

const struct uplink_ops uplink_veth = {
        .kind = "veth",
        .new = veth_new,
        .free = veth_free,
        .start = veth_start,
        .stop = veth_stop,
        .look = veth_look,
        .look_at_rules = veth_look_at_rules,
        .rules = veth_rules,
        .is_up = veth_is_up,
        .message = veth_message,
        .describe = veth_describe,
};
