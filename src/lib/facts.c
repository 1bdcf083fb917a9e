/* Facts: what a reply says of a network or an interface, as the public structs. */
#include "lib/facts.h"

#include <errno.h>

#include "base/memory.h"
#include "wire/fields.h"

static int facts_fill(json_t *object, const struct field *fields, size_t n_fields, const char *what,
                      struct error *error) {
        if (!object)
                return error_set(error, -EPROTO, "the reply has no %s", what);
        if (fields_parse(object, fields, n_fields, true, error) < 0) {
                error_prefix(error, "the reply's %s makes no sense", what);
                error->code = -EPROTO;
                return -EPROTO;
        }
        return 0;
}

/* An address that is not there comes as "" or not at all; the caller is to see one way only. */
static const char *or_null(const char *s) {
        return s && s[0] ? s : NULL;
}

int facts_parse_network(json_t *object, struct berth_network_facts *ret, struct error *error) {
        struct berth_network_facts f = { .size = sizeof(f) };
        uint64_t mtu = 0, prefix_length = 0;
        const struct field fields[] = {
                { .key = "name", .type = FIELD_STRING, .required = true, .ret = &f.name },
                { .key = "mode", .type = FIELD_STRING, .required = true, .ret = &f.mode },
                { .key = "lease", .type = FIELD_U64, .ret = &f.lease, .max = INT64_MAX },
                { .key = "subnet", .type = FIELD_STRING, .required = true, .ret = &f.subnet },
                { .key = "mask", .type = FIELD_STRING, .required = true, .ret = &f.mask },
                { .key = "gateway", .type = FIELD_STRING, .required = true, .ret = &f.gateway },
                { .key = "start_address", .type = FIELD_STRING, .ret = &f.start_address },
                { .key = "end_address", .type = FIELD_STRING, .ret = &f.end_address },
                { .key = "ipv6_prefix", .type = FIELD_STRING, .ret = &f.ipv6_prefix },
                { .key = "ipv6_prefix_length", .type = FIELD_U64, .ret = &prefix_length, .max = 128 },
                { .key = "ipv6_gateway", .type = FIELD_STRING, .ret = &f.ipv6_gateway },
                { .key = "mtu", .type = FIELD_U64, .required = true, .ret = &mtu, .min = 68, .max = 65535 },
                { .key = "dhcp", .type = FIELD_BOOL, .ret = &f.dhcp },
                { .key = "dns", .type = FIELD_BOOL, .ret = &f.dns },
                { .key = "nat44", .type = FIELD_BOOL, .ret = &f.nat44 },
                { .key = "nat66", .type = FIELD_BOOL, .ret = &f.nat66 },
                { .key = "router_advertisement", .type = FIELD_BOOL, .ret = &f.router_advertisement },
                { .key = "anti_spoofing", .type = FIELD_BOOL, .ret = &f.anti_spoofing },
                { .key = "domain", .type = FIELD_STRING, .ret = &f.domain },
        };
        int r;

        r = facts_fill(object, fields, ARRAY_SIZE(fields), "network", error);
        if (r < 0)
                return r;
        f.start_address = or_null(f.start_address);
        f.end_address = or_null(f.end_address);
        f.ipv6_prefix = or_null(f.ipv6_prefix);
        f.ipv6_gateway = or_null(f.ipv6_gateway);
        f.domain = or_null(f.domain);
        f.ipv6_prefix_length = (uint32_t)prefix_length;
        f.mtu = (uint32_t)mtu;
        *ret = f;
        return 0;
}

int facts_parse_interface(json_t *object, struct berth_interface_facts *ret, struct error *error) {
        struct berth_interface_facts f = { .size = sizeof(f) };
        uint64_t mtu = 0, max_packet_size = 0, queues = 0, vnet_header_size = 0;
        const struct field fields[] = {
                { .key = "port", .type = FIELD_STRING, .required = true, .ret = &f.port },
                { .key = "name", .type = FIELD_STRING, .ret = &f.name },
                { .key = "mac", .type = FIELD_STRING, .required = true, .ret = &f.mac },
                { .key = "address", .type = FIELD_STRING, .ret = &f.address },
                { .key = "ipv6_address", .type = FIELD_STRING, .ret = &f.ipv6_address },
                { .key = "mtu", .type = FIELD_U64, .required = true, .ret = &mtu, .min = 68, .max = 65535 },
                { .key = "max_packet_size", .type = FIELD_U64, .ret = &max_packet_size, .max = UINT32_MAX },
                { .key = "queues", .type = FIELD_U64, .required = true, .ret = &queues, .min = 1, .max = 16 },
                { .key = "vnet_header_size",
                  .type = FIELD_U64,
                  .required = true,
                  .ret = &vnet_header_size,
                  .max = 64 },
                { .key = "isolated", .type = FIELD_BOOL, .ret = &f.isolated },
        };
        int r;

        r = facts_fill(object, fields, ARRAY_SIZE(fields), "interface", error);
        if (r < 0)
                return r;
        f.name = or_null(f.name);
        f.address = or_null(f.address);
        f.ipv6_address = or_null(f.ipv6_address);
        f.mtu = (uint32_t)mtu;
        f.max_packet_size = (uint32_t)max_packet_size;
        f.queues = (uint32_t)queues;
        f.vnet_header_size = (uint32_t)vnet_header_size;
        *ret = f;
        return 0;
}
