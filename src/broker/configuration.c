#include "broker/configuration.h"

#include <errno.h>
#include <string.h>

#include "base/address.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "broker/routes.h"
#include "broker/user.h"
#include "wire/fields.h"

struct choice {
        struct remembered remembered; /* what the installation file is to say */
        uint32_t gateway;
        unsigned mask_length;
        bool ipv6;
        struct in6_addr prefix;
};

/* With `skip_berth`, without the routes to the networks of the system's broker. */
static int add_host_claims(const struct prefix *interest, bool skip_berth, struct claims *claims,
                           struct error *error) {
        _cleanup_(routes_deinit) struct routes routes = ROUTES_INIT;

        int r = routes_read(interest, skip_berth, &routes, error);
        if (r < 0)
                return r;
        return claims_add_routes(claims, &routes);
}

static int choose_automatic(const struct definition *definition, const struct configuration_context *context,
                            bool known, struct claims *claims, struct choice *choice, struct error *error) {
        const struct prefix all = prefix_ipv4((192u << 24) | (168u << 16), 16);
        char collision[CLAIM_TEXT_SIZE] = "";
        unsigned octet;

        /* The routes of the system's networks make no network move: the system's own not, for they are its own,
         * and a user's not, for it has no route on the host and the two never meet. But a new one keeps clear. */
        int r = add_host_claims(&all, true, claims, error);
        if (r < 0)
                return r;

        choice->mask_length = SUBNET_LENGTH;
        choice->gateway = choice->remembered.gateway;
        if (choice->gateway) {
                struct prefix prefix = prefix_ipv4(choice->gateway, SUBNET_LENGTH);

                const struct claim *claim = claims_find(claims, &prefix);
                if (!claim)
                        return 0;
                claim_format(claim, collision);
        }
        r = installation_add_claims(context->installation, definition->name, claims);
        if (r >= 0 && !context->system)
                r = add_host_claims(&all, false, claims, error);
        if (r < 0)
                return r;

        const struct claim *evicted;
        r = subnet_pick(claims, &octet, &evicted);
        if (r < 0)
                return error_set(error, r,
                                 "no free subnet: all of 192.168.%d.0/24 to 192.168.%d.0/24 overlap routes "
                                 "of the host or other networks",
                                 SUBNET_FIRST, SUBNET_LAST);
        choice->gateway = (192u << 24) | (168u << 16) | (octet << 8) | 1;
        if (*collision)
                log_warning("network %s moves to 192.168.%u.0/24: its subnet collides with %s",
                            definition->name, octet, collision);
        if (evicted) {
                log_warning("network %s takes 192.168.%u.0/24, which was remembered for network %s: no other "
                            "subnet is free",
                            definition->name, octet, evicted->holder);
                installation_forget(context->installation, evicted->holder);
        }
        choice->remembered.gateway = choice->gateway;
        return known ? 0 : installation_pick_index(context->installation, octet, &choice->remembered.index);
}

/* Fails where a configured prefix is somebody else's. */
static int check_configured(const struct configuration_context *context, const char *key,
                            const struct prefix *prefix, struct claims *claims, struct error *error) {
        char text[CLAIM_TEXT_SIZE], own[PREFIX_TEXT_SIZE];

        int r = add_host_claims(prefix, context->system, claims, error);
        if (r < 0)
                return r;
        const struct claim *claim = claims_find(claims, prefix);
        if (!claim)
                return 0;
        return error_set(error, -EADDRINUSE, "\"%s\": %s collides with %s", key, prefix_format(prefix, own),
                         claim_format(claim, text));
}

static int choose_configured(const struct definition *definition, const struct configuration_context *context,
                             bool known, struct claims *claims, struct choice *choice, struct error *error) {
        struct prefix prefix = prefix_ipv4(definition->gateway, definition->mask_length);

        int r = check_configured(context, "subnet", &prefix, claims, error);
        if (r < 0)
                return error_prefix(error, "%s", definition->source);
        choice->gateway = definition->gateway;
        choice->mask_length = definition->mask_length;
        return known ? 0 : installation_pick_index(context->installation, 0, &choice->remembered.index);
}

static int choose_ipv6(const struct definition *definition, const struct configuration_context *context,
                       struct claims *claims, struct choice *choice, struct error *error) {
        struct in6_addr host = installation_host(context->installation);
        struct prefix prefix = prefix_ipv6(&definition->ipv6_prefix, 64), own = prefix_ipv6(&host, 64);
        char text[CLAIM_TEXT_SIZE];

        choice->ipv6 = definition->ipv6 != IPV6_NONE;
        if (definition->ipv6 != IPV6_FIXED) {
                choice->prefix = installation_prefix(context->installation, choice->remembered.index);
                prefix = prefix_ipv6(&choice->prefix, 64);
                const struct claim *claim = claims_find(claims, &prefix);
                if (!claim)
                        return 0;
                return error_set(error, -EADDRINUSE, "the IPv6 prefix collides with %s",
                                 claim_format(claim, text));
        }
        choice->prefix = definition->ipv6_prefix;
        if (prefix_overlaps(&prefix, &own))
                return error_set(error, -EADDRINUSE,
                                 "%s: \"ipv6_prefix\" is the host's own towards its networks",
                                 definition->source);
        int r = check_configured(context, "ipv6_prefix", &prefix, claims, error);
        return r < 0 ? error_prefix(error, "%s", definition->source) : 0;
}

/* A failure to write is no reason not to have a network; it may then have another subnet next time. */
static int remember(const struct definition *definition, const struct configuration_context *context,
                    const struct choice *choice) {
        struct error error = ERROR_INIT;

        int r = installation_remember(context->installation, definition->name, &choice->remembered);
        if (r < 0)
                return r;
        r = installation_save(context->installation, &error);
        if (r < 0)
                log_warning("cannot remember the addresses of network %s: %s", definition->name,
                            error_text(&error, r));
        return 0;
}

static json_t *reservations_json(const struct definition *definition) {
        json_t *array = json_array();

        for (size_t i = 0; array && i < definition->n_reservations; i++) {
                const struct reservation *reservation = &definition->reservations[i];
                char mac[MAC_TEXT_SIZE], address[INET_ADDRSTRLEN];

                json_array_append_new(array,
                                      json_pack("{ss ss ss*}", "mac", mac_format(&reservation->mac, mac),
                                                "address", ipv4_format(reservation->address, address), "name",
                                                *reservation->name ? reservation->name : NULL));
        }
        return array;
}

static json_t *configuration_json(const struct definition *d, const struct configuration_context *context,
                                  const struct choice *choice) {
        char gateway[INET_ADDRSTRLEN], mask[INET_ADDRSTRLEN], prefix[INET6_ADDRSTRLEN] = "",
                                                              host[INET6_ADDRSTRLEN];
        struct in6_addr host_address = installation_host(context->installation);
        uint64_t idle = d->has_idle_timeout ? d->idle_timeout : context->idle_timeout;

        if (choice->ipv6)
                ipv6_format(&choice->prefix, prefix);
        return json_pack("{ss ss ss sb ss ss ss ss ss ss si si sb sb sb sb sb sb so sI si ss}", "command",
                         "configure", "name", d->name, "mode", definition_mode_name(d->mode), "system",
                         context->system, "runtime_directory", context->runtime_directory, "state_directory",
                         context->state_directory, "gateway", ipv4_format(choice->gateway, gateway), "mask",
                         ipv4_format(ipv4_length_mask(choice->mask_length), mask), "ipv6_prefix", prefix,
                         "host_ipv6", ipv6_format(&host_address, host), "index",
                         (int)choice->remembered.index, "mtu", (int)d->mtu, "dhcp", d->dhcp, "dns", d->dns,
                         "nat44", d->nat44, "nat66", d->nat66, "router_advertisement",
                         d->router_advertisement, "anti_spoofing", d->anti_spoofing, "dhcp_reservations",
                         reservations_json(d), "idle_timeout_ms", (json_int_t)idle * 1000,
                         "max_interfaces_per_user", USER_INTERFACES_MAX, "key", context->installation->key);
}

int configuration_resolve(const struct definition *definition, const struct configuration_context *context,
                          struct claims *live, json_t **ret, struct error *error) {
        struct choice choice = {};
        int r;

        bool known = installation_find(context->installation, definition->name, &choice.remembered) == 0;
        struct remembered before = choice.remembered;

        if (definition->gateway)
                r = choose_configured(definition, context, known, live, &choice, error);
        else
                r = choose_automatic(definition, context, known, live, &choice, error);
        if (r == 0)
                r = choose_ipv6(definition, context, live, &choice, error);
        if (r < 0)
                return r;

        if (!known || before.gateway != choice.remembered.gateway) {
                r = remember(definition, context, &choice);
                if (r < 0)
                        return r;
        }
        *ret = configuration_json(definition, context, &choice);
        return *ret ? 0 : -ENOMEM;
}

int configuration_prefixes(json_t *configuration, struct prefix *ret_ipv4, struct prefix *ret_ipv6) {
        const char *gateway = NULL, *mask = NULL, *prefix = "";
        const struct field fields[] = {
                { "gateway", FIELD_STRING, true, &gateway, 0, 0 },
                { "mask", FIELD_STRING, true, &mask, 0, 0 },
                { "ipv6_prefix", FIELD_STRING, false, &prefix, 0, 0 },
        };
        uint32_t address, bits;
        struct in6_addr address6;

        int r = fields_parse(configuration, fields, ARRAY_SIZE(fields), true, NULL);
        if (r < 0)
                return r;
        if (ipv4_parse(gateway, &address) < 0 || ipv4_parse(mask, &bits) < 0 || ipv4_mask_length(bits) < 0 ||
            (*prefix && ipv6_parse(prefix, &address6) < 0))
                return -EINVAL;
        *ret_ipv4 = prefix_ipv4(address, (unsigned)ipv4_mask_length(bits));
        *ret_ipv6 = *prefix ? prefix_ipv6(&address6, 64) : (struct prefix){ .family = AF_UNSPEC };
        return 0;
}
