#include "network/configuration.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "wire/fields.h"

static int parse_key(const char *hex, uint8_t ret[static 16], struct error *error) {
        if (strlen(hex) != 32 || strspn(hex, "0123456789abcdefABCDEF") != 32)
                return error_set(error, -EINVAL, "\"key\" must be 32 hexadecimal digits");

        for (size_t i = 0; i < 16; i++) {
                char pair[3] = { hex[2 * i], hex[2 * i + 1], 0 };
                ret[i] = (uint8_t)strtoul(pair, NULL, 16);
        }
        return 0;
}

static int parse_reservation(json_t *object, const struct configuration *configuration,
                             struct reservation *ret, struct error *error) {
        const char *mac = NULL, *address = NULL, *name = "";
        const struct field fields[] = {
                { "mac", FIELD_STRING, true, &mac, 0, 0 },
                { "address", FIELD_STRING, true, &address, 0, 0 },
                { "name", FIELD_STRING, false, &name, 0, 0 },
        };

        int r = fields_parse(object, fields, ARRAY_SIZE(fields), false, error);
        if (r < 0)
                return error_prefix(error, "\"dhcp_reservations\"");
        if (mac_parse(mac, &ret->mac) < 0 || !mac_is_unicast(&ret->mac))
                return error_set(error, -EINVAL, "\"dhcp_reservations\": \"%s\" is no unicast MAC address", mac);
        if (ipv4_parse(address, &ret->address) < 0 ||
            ((ret->address ^ configuration->gateway) & configuration->mask) != 0)
                return error_set(error, -EINVAL, "\"dhcp_reservations\": \"%s\" is no address of the subnet",
                                 address);
        if (*name && !text_is_label(name))
                return error_set(error, -EINVAL, "\"dhcp_reservations\": \"%s\" is no DNS label", name);
        strcpy(ret->name, name);
        return 0;
}

static int parse_reservations(json_t *array, struct configuration *configuration, struct error *error) {
        if (json_array_size(array) == 0)
                return 0;

        configuration->reservations = calloc(json_array_size(array), sizeof(*configuration->reservations));
        if (!configuration->reservations)
                return -ENOMEM;

        size_t i;
        json_t *entry;
        json_array_foreach(array, i, entry) {
                int r = parse_reservation(entry, configuration, &configuration->reservations[i], error);
                if (r < 0)
                        return r;
                configuration->n_reservations++;
        }
        return 0;
}

static int parse_addresses(struct configuration *configuration, const char *gateway, const char *mask,
                           const char *prefix, const char *host6, struct error *error) {
        if (ipv4_parse(gateway, &configuration->gateway) < 0)
                return error_set(error, -EINVAL, "\"gateway\": \"%s\" is no IPv4 address", gateway);
        if (ipv4_parse(mask, &configuration->mask) < 0 || ipv4_mask_length(configuration->mask) < 8 ||
            ipv4_mask_length(configuration->mask) > 30)
                return error_set(error, -EINVAL, "\"mask\": \"%s\" is no netmask of 8 to 30 bits", mask);

        uint32_t host = configuration->gateway & ~configuration->mask;
        if (host == 0 || host == ~configuration->mask)
                return error_set(error, -EINVAL, "\"gateway\": %s is no host's address in its subnet", gateway);

        configuration->ipv6 = *prefix != 0;
        if (configuration->ipv6 && ipv6_parse(prefix, &configuration->prefix) < 0)
                return error_set(error, -EINVAL, "\"ipv6_prefix\": \"%s\" is no IPv6 address", prefix);
        static const uint8_t no_host[8] = {};
        if (configuration->ipv6 && memcmp(&configuration->prefix.s6_addr[8], no_host, sizeof(no_host)) != 0)
                return error_set(error, -EINVAL, "\"ipv6_prefix\": \"%s\" has more than 64 bits", prefix);
        if (configuration->ipv6 && configuration->system && ipv6_parse(host6, &configuration->host6) < 0)
                return error_set(error, -EINVAL, "\"host_ipv6\": \"%s\" is no IPv6 address", host6);
        return 0;
}

static int parse_body(struct configuration *configuration, json_t *body, struct error *error) {
        const char *command = NULL, *mode = NULL, *gateway = NULL, *mask = NULL, *prefix = NULL, *host6 = "",
                   *key = NULL;
        json_t *reservations = NULL;
        uint64_t index = 0, mtu = 0, idle_ms = 0, max_interfaces = 0;
        const struct field fields[] = {
                { "command", FIELD_STRING, true, &command, 0, 0 },
                { "name", FIELD_STRING, true, &configuration->name, 0, 0 },
                { "mode", FIELD_STRING, true, &mode, 0, 0 },
                { "system", FIELD_BOOL, true, &configuration->system, 0, 0 },
                { "runtime_directory", FIELD_STRING, true, &configuration->runtime_directory, 0, 0 },
                { "state_directory", FIELD_STRING, true, &configuration->state_directory, 0, 0 },
                { "gateway", FIELD_STRING, true, &gateway, 0, 0 },
                { "mask", FIELD_STRING, true, &mask, 0, 0 },
                { "ipv6_prefix", FIELD_STRING, true, &prefix, 0, 0 },
                { "host_ipv6", FIELD_STRING, false, &host6, 0, 0 },
                { "index", FIELD_U64, true, &index, 0, 65535 },
                { "mtu", FIELD_U64, true, &mtu, 1280, 65520 },
                { "dhcp", FIELD_BOOL, true, &configuration->dhcp, 0, 0 },
                { "dns", FIELD_BOOL, true, &configuration->dns, 0, 0 },
                { "nat44", FIELD_BOOL, true, &configuration->nat44, 0, 0 },
                { "nat66", FIELD_BOOL, true, &configuration->nat66, 0, 0 },
                { "router_advertisement", FIELD_BOOL, true, &configuration->router_advertisement, 0, 0 },
                { "anti_spoofing", FIELD_BOOL, true, &configuration->anti_spoofing, 0, 0 },
                { "dhcp_reservations", FIELD_ARRAY, true, &reservations, 0, 0 },
                { "idle_timeout_ms", FIELD_U64, true, &idle_ms, 0, UINT64_MAX / 1000 },
                { "max_interfaces_per_user", FIELD_U64, true, &max_interfaces, 1, 65535 },
                { "key", FIELD_STRING, true, &key, 0, 0 },
        };

        int r = fields_parse(body, fields, ARRAY_SIZE(fields), false, error);
        if (r < 0)
                return r;
        if (!text_equal(command, "configure"))
                return error_set(error, -EINVAL, "the first command must be \"configure\", not \"%s\"", command);
        if (!text_is_name(configuration->name))
                return error_set(error, -EINVAL, "\"%s\" is no network name", configuration->name);
        if (text_equal(mode, "shared"))
                configuration->mode = NETWORK_SHARED;
        else if (text_equal(mode, "host"))
                configuration->mode = NETWORK_HOST;
        else
                return error_set(error, -EINVAL, "\"mode\" must be \"shared\" or \"host\", not \"%s\"", mode);

        configuration->index = (unsigned)index;
        configuration->mtu = (unsigned)mtu;
        configuration->idle_timeout = idle_ms * 1000;
        configuration->max_interfaces_per_user = (unsigned)max_interfaces;

        r = parse_key(key, configuration->key, error);
        if (r < 0)
                return r;
        r = parse_addresses(configuration, gateway, mask, prefix, host6, error);
        if (r < 0)
                return r;
        return parse_reservations(reservations, configuration, error);
}

int configuration_init(struct configuration *ret, json_t *body, struct error *error) {
        struct configuration configuration = {};

        int r = parse_body(&configuration, body, error);
        if (r < 0) {
                configuration_deinit(&configuration);
                return r;
        }
        configuration.body = json_incref(body);
        *ret = configuration;
        return 0;
}

void configuration_deinit(struct configuration *configuration) {
        free(configuration->reservations);
        json_decref(configuration->body);
        *configuration = (struct configuration){};
}

struct in6_addr configuration_address6(const struct configuration *configuration, uint32_t host) {
        struct in6_addr address = configuration->prefix;
        uint32_t low = htonl(host);

        memset(&address.s6_addr[8], 0, 4);
        memcpy(&address.s6_addr[12], &low, 4);
        return address;
}

json_t *configuration_facts(const struct configuration *c) {
        char subnet[INET_ADDRSTRLEN], mask[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN], start[INET_ADDRSTRLEN],
                end[INET_ADDRSTRLEN];
        uint32_t base = c->gateway & c->mask, last = (base | ~c->mask) - 1;

        /* The range that VMs get: all of the subnet but its two reserved addresses and a gateway at either end. */
        json_t *facts = json_pack(
                "{ss ss ss ss ss ss ss si sb sb sb sb sb sb ss}", "name", c->name, "mode",
                c->mode == NETWORK_HOST ? "host" : "shared", "subnet", ipv4_format(base, subnet), "mask",
                ipv4_format(c->mask, mask), "gateway", ipv4_format(c->gateway, gateway), "start_address",
                ipv4_format(base + 1 == c->gateway ? base + 2 : base + 1, start), "end_address",
                ipv4_format(last == c->gateway ? last - 1 : last, end), "mtu", (int)c->mtu, "dhcp", c->dhcp, "dns",
                c->dns, "nat44", c->nat44, "nat66", c->nat66, "router_advertisement", c->router_advertisement,
                "anti_spoofing", c->anti_spoofing, "domain", "berth.internal");
        if (facts && c->ipv6) {
                char prefix[INET6_ADDRSTRLEN], gateway6[INET6_ADDRSTRLEN];
                struct in6_addr address = configuration_address6(c, 1);

                json_object_set_new(facts, "ipv6_prefix", json_string(ipv6_format(&c->prefix, prefix)));
                json_object_set_new(facts, "ipv6_prefix_length", json_integer(64));
                json_object_set_new(facts, "ipv6_gateway", json_string(ipv6_format(&address, gateway6)));
        }
        return facts;
}
