/*
 * Members are taken apart one by one by a table, and what several members must agree on is checked at the
 * end. Each complaint names the line of the member that it is about.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "broker/account.h"
#include "broker/definition.h"
#include "wire/json-line.h"

struct parse {
        struct definition *definition; /* under construction */
        const char *source, *text;
        size_t size;
        json_t *root;
        struct error *error;
};

/* Where a complaint points: a member, an element of its array, a member of that. */
struct spot {
        const char *key;
        long index; /* negative: none */
        const char *subkey; /* NULL: none */
};

#define SPOT(k) (&(struct spot){ .key = (k), .index = -1 })
#define SPOT_ELEMENT(k, i, s) (&(struct spot){ .key = (k), .index = (long)(i), .subkey = (s) })
#define SPOT_MEMBER(k, s) (&(struct spot){ .key = (k), .index = -1, .subkey = (s) })

__attribute__((format(printf, 3, 4))) static int complain(struct parse *p, const struct spot *spot,
                                                          const char *format, ...) {
        char reason[320];
        va_list args;

        va_start(args, format);
        vsnprintf(reason, sizeof(reason), format, args);
        va_end(args);
        return error_set(p->error, -EINVAL, "%s:%u: %s", p->source,
                         json_line(p->text, p->size, spot->key, spot->index, spot->subkey), reason);
}

static int parse_description(struct parse *p, const char *key, json_t *value) {
        if (!json_is_string(value) || json_string_length(value) > 256)
                return complain(p, SPOT("description"),
                                "\"description\" must be a text of at most 256 bytes");
        p->definition->description = strdup(json_string_value(value));
        return p->definition->description ? 0 : -ENOMEM;
}

static int parse_boolean(struct parse *p, const char *key, json_t *value) {
        struct definition *d = p->definition;
        const struct {
                const char *key;
                bool *ret;
        } booleans[] = {
                { "dhcp", &d->dhcp },
                { "dns", &d->dns },
                { "nat44", &d->nat44 },
                { "nat66", &d->nat66 },
                { "router_advertisement", &d->router_advertisement },
                { "anti_spoofing", &d->anti_spoofing },
        };

        if (!json_is_boolean(value))
                return complain(p, SPOT(key), "\"%s\" must be true or false", key);
        for (size_t i = 0; i < ARRAY_SIZE(booleans); i++)
                if (text_equal(key, booleans[i].key))
                        *booleans[i].ret = json_is_true(value);
        return 0;
}

static int parse_number(struct parse *p, const char *key, json_t *value, json_int_t min, json_int_t max,
                        unsigned *ret) {
        if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max)
                return complain(p, SPOT(key),
                                "\"%s\" must be an integer from %" JSON_INTEGER_FORMAT
                                " to %" JSON_INTEGER_FORMAT,
                                key, min, max);
        *ret = (unsigned)json_integer_value(value);
        return 0;
}

static int parse_mtu(struct parse *p, const char *key, json_t *value) {
        return parse_number(p, key, value, DEFINITION_MTU_MIN, DEFINITION_MTU_MAX, &p->definition->mtu);
}

static int parse_idle_timeout(struct parse *p, const char *key, json_t *value) {
        p->definition->has_idle_timeout = true;
        return parse_number(p, key, value, 0, DEFINITION_IDLE_MAX, &p->definition->idle_timeout);
}

/* Whether VMs can have this address: not of the ranges with a meaning of their own (RFC 6890). */
static bool is_ordinary_ipv4(uint32_t address) {
        return address >> 24 != 0 && address >> 24 != 127 && address >> 16 != 0xa9fe && address >> 28 < 0xe;
}

static int parse_subnet(struct parse *p, const char *key, json_t *value) {
        const char *text = json_string_value(value);

        if (!text || ipv4_parse(text, &p->definition->gateway) < 0)
                return complain(p, SPOT(key),
                                "\"subnet\" must be the gateway's IPv4 address, such as "
                                "\"192.168.200.1\"");
        if (!is_ordinary_ipv4(p->definition->gateway))
                return complain(p, SPOT(key),
                                "\"subnet\": %s is a loopback, link-local, multicast or "
                                "reserved address",
                                text);
        return 0;
}

static int parse_mask(struct parse *p, const char *key, json_t *value) {
        const char *text = json_string_value(value);
        uint32_t mask;
        int length;

        if (!text || ipv4_parse(text, &mask) < 0)
                return complain(p, SPOT(key), "\"mask\" must be a netmask, such as \"255.255.255.0\"");
        length = ipv4_mask_length(mask);
        if (length < 8 || length > 30)
                return complain(p, SPOT(key), "\"mask\": %s is no contiguous netmask of 8 to 30 bits", text);
        p->definition->mask_length = (unsigned)length;
        return 0;
}

static int parse_ipv6_prefix(struct parse *p, const char *key, json_t *value) {
        static const struct in6_addr no_host = IN6ADDR_ANY_INIT;
        const char *text = json_string_value(value);
        struct in6_addr *prefix = &p->definition->ipv6_prefix;
        char address[INET6_ADDRSTRLEN + 4];

        if (text_equal(text, "")) {
                p->definition->ipv6 = IPV6_NONE;
                return 0;
        }
        if (!text || strlen(text) >= sizeof(address))
                return complain(p, SPOT(key), "\"ipv6_prefix\" must be a /64 prefix, or empty for no IPv6");
        strcpy(address, text);

        char *slash = strchr(address, '/');
        if (slash)
                *slash++ = 0;
        if (ipv6_parse(address, prefix) < 0 || (slash && !text_equal(slash, "64")) ||
            memcmp(&prefix->s6_addr[8], &no_host, 8) != 0)
                return complain(p, SPOT(key),
                                "\"ipv6_prefix\": %s is no /64 prefix, such as "
                                "\"fd12:3456:789a:1::\"",
                                text);
        if (IN6_IS_ADDR_MULTICAST(prefix) || IN6_IS_ADDR_LINKLOCAL(prefix) ||
            memcmp(prefix, &no_host, 8) == 0)
                return complain(p, SPOT(key), "\"ipv6_prefix\": %s is loopback, link-local or multicast",
                                text);
        p->definition->ipv6 = IPV6_FIXED;
        return 0;
}

static int parse_reservation_member(struct parse *p, size_t i, const char *key, json_t *value,
                                    struct reservation *reservation) {
        const struct spot *spot = SPOT_ELEMENT("dhcp_reservations", i, key);
        const char *text = json_string_value(value);

        if (text_equal(key, "mac")) {
                if (!text || mac_parse(text, &reservation->mac) < 0 || !mac_is_unicast(&reservation->mac))
                        return complain(p, spot,
                                        "\"mac\" must be a unicast MAC address, such as "
                                        "\"52:54:00:12:34:56\"");
        } else if (text_equal(key, "address")) {
                if (!text || ipv4_parse(text, &reservation->address) < 0)
                        return complain(p, spot, "\"address\" must be an IPv4 address");
        } else if (text_equal(key, "name")) {
                if (!text || !text_is_label(text))
                        return complain(p, spot, "\"name\" must be a DNS label: letters, digits and hyphens");
                strcpy(reservation->name, text);
        } else
                return complain(p, spot, "unknown key \"%.64s\" in a reservation", key);
        return 0;
}

static int parse_reservation(struct parse *p, size_t i, json_t *object, struct reservation *reservation) {
        const char *key;
        json_t *value;

        if (!json_is_object(object))
                return complain(p, SPOT_ELEMENT("dhcp_reservations", i, NULL),
                                "a reservation must be an object");
        json_object_foreach(object, key, value) {
                int r = parse_reservation_member(p, i, key, value, reservation);
                if (r < 0)
                        return r;
        }
        if (!json_object_get(object, "mac") || !json_object_get(object, "address"))
                return complain(p, SPOT_ELEMENT("dhcp_reservations", i, NULL),
                                "a reservation needs \"mac\" and \"address\"");
        return 0;
}

static int parse_reservations(struct parse *p, const char *key, json_t *value) {
        struct definition *d = p->definition;
        json_t *entry;
        size_t i;

        if (!json_is_array(value) || json_array_size(value) > DEFINITION_RESERVATIONS_MAX)
                return complain(p, SPOT(key), "\"%s\" must be an array of at most %d reservations", key,
                                DEFINITION_RESERVATIONS_MAX);
        d->reservations = calloc(json_array_size(value) + 1, sizeof(*d->reservations));
        if (!d->reservations)
                return -ENOMEM;
        json_array_foreach(value, i, entry) {
                int r = parse_reservation(p, i, entry, &d->reservations[i]);
                if (r < 0)
                        return r;
                d->n_reservations++;
        }
        return 0;
}

/* One user or group, by name or number, to *ret: 0, or -EINVAL with a complaint. */
static int parse_account(struct parse *p, const char *kind, size_t i, json_t *value, unsigned *ret) {
        const struct spot *spot = SPOT_MEMBER("allow", kind);
        bool group = text_equal(kind, "groups");
        const char *text = json_string_value(value);
        int r;

        if (json_is_integer(value) && json_integer_value(value) >= 0 &&
            json_integer_value(value) < UINT32_MAX) {
                *ret = (unsigned)json_integer_value(value);
                return 0;
        }
        if (!text)
                return complain(p, spot, "\"%s\": element %zu is no name and no numeric id", kind, i + 1);
        r = account_find(text, group, ret);
        if (r == -ENOENT)
                return complain(p, spot, "\"%s\": there is no %s \"%.64s\"", kind, group ? "group" : "user",
                                text);
        if (r < 0)
                return complain(p, spot, "\"%s\": cannot look up \"%.64s\": %s", kind, text, strerror(-r));
        return 0;
}

static int parse_accounts(struct parse *p, const char *kind, json_t *array, unsigned **ret, size_t *ret_n) {
        json_t *entry;
        size_t i;

        if (!json_is_array(array) || json_array_size(array) > 256)
                return complain(p, SPOT_MEMBER("allow", kind),
                                "\"%s\" must be an array of at most 256 names "
                                "or numeric ids",
                                kind);
        *ret = calloc(json_array_size(array) + 1, sizeof(**ret));
        if (!*ret)
                return -ENOMEM;
        json_array_foreach(array, i, entry) {
                if (text_equal(json_string_value(entry), "*")) {
                        p->definition->allow.everyone = true;
                        continue;
                }
                int r = parse_account(p, kind, i, entry, &(*ret)[*ret_n]);
                if (r < 0)
                        return r;
                (*ret_n)++;
        }
        return 0;
}

static int parse_allow(struct parse *p, const char *key, json_t *value) {
        struct allow *allow = &p->definition->allow;
        json_t *member;
        const char *kind;
        int r;

        if (!json_is_object(value))
                return complain(p, SPOT(key), "\"allow\" must be an object with \"users\" and \"groups\"");
        allow->given = true;
        json_object_foreach(value, kind, member) {
                if (text_equal(kind, "users"))
                        r = parse_accounts(p, kind, member, &allow->uids, &allow->n_uids);
                else if (text_equal(kind, "groups"))
                        r = parse_accounts(p, kind, member, &allow->gids, &allow->n_gids);
                else
                        r = complain(p, SPOT_MEMBER("allow", kind), "unknown key \"%.64s\" in \"allow\"",
                                     kind);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* The mode decides about defaults, so it was taken before all other members. */
static int parse_mode(struct parse *p, const char *key, json_t *value) {
        const char *text = json_string_value(value);

        if (!text_equal(text, "shared") && !text_equal(text, "host"))
                return complain(p, SPOT(key), "\"mode\" must be \"shared\" or \"host\"");
        return 0;
}

static int check_subnet(struct parse *p) {
        const struct definition *d = p->definition;
        uint32_t mask = ipv4_length_mask(d->mask_length), host = d->gateway & ~mask;

        if (!d->gateway && !d->mask_length)
                return 0;
        if (!d->mask_length)
                return complain(p, SPOT("subnet"), "\"subnet\" needs \"mask\"");
        if (!d->gateway)
                return complain(p, SPOT("mask"), "\"mask\" needs \"subnet\"");
        if (host == 0 || host == ~mask)
                return complain(p, SPOT("subnet"),
                                "\"subnet\" must be the gateway's address, and %s is "
                                "the %s address of its subnet",
                                json_string_value(json_object_get(p->root, "subnet")),
                                host == 0 ? "first" : "broadcast");
        return 0;
}

static int check_reservation(struct parse *p, size_t i) {
        const struct definition *d = p->definition;
        const struct reservation *reservation = &d->reservations[i];
        uint32_t mask = ipv4_length_mask(d->mask_length), host = reservation->address & ~mask;
        const struct spot *address = SPOT_ELEMENT("dhcp_reservations", i, "address");

        if (!d->gateway)
                return complain(p, address,
                                "a reservation needs \"subnet\" and \"mask\": an automatic "
                                "subnet can change");
        if ((reservation->address ^ d->gateway) & mask)
                return complain(p, address, "\"address\" is not in the subnet");
        if (host == 0 || host == ~mask)
                return complain(p, address,
                                "\"address\" is the first or the broadcast address of the subnet");
        if (reservation->address == d->gateway)
                return complain(p, address, "\"address\" is the gateway's");

        for (size_t j = 0; j < i; j++) {
                const struct reservation *other = &d->reservations[j];

                if (mac_equal(&reservation->mac, &other->mac))
                        return complain(p, SPOT_ELEMENT("dhcp_reservations", i, "mac"),
                                        "\"mac\" has a reservation already");
                if (reservation->address == other->address)
                        return complain(p, address, "\"address\" is reserved already");
                if (*reservation->name && strcasecmp(reservation->name, other->name) == 0)
                        return complain(p, SPOT_ELEMENT("dhcp_reservations", i, "name"),
                                        "\"name\" is taken already");
        }
        return 0;
}

static int check(struct parse *p) {
        const struct definition *d = p->definition;

        int r = check_subnet(p);
        for (size_t i = 0; r == 0 && i < d->n_reservations; i++)
                r = check_reservation(p, i);
        if (r == 0 && d->mode == MODE_HOST && (d->nat44 || d->nat66))
                r = complain(p, SPOT(d->nat44 ? "nat44" : "nat66"),
                             "a network of mode \"host\" leads nowhere, so "
                             "there is nothing to translate");
        return r;
}

static int parse_members(struct parse *p) {
        static const struct {
                const char *key;
                int (*parse)(struct parse *p, const char *key, json_t *value);
        } members[] = {
                { "description", parse_description },
                { "mode", parse_mode },
                { "subnet", parse_subnet },
                { "mask", parse_mask },
                { "ipv6_prefix", parse_ipv6_prefix },
                { "mtu", parse_mtu },
                { "dhcp", parse_boolean },
                { "dns", parse_boolean },
                { "nat44", parse_boolean },
                { "nat66", parse_boolean },
                { "router_advertisement", parse_boolean },
                { "anti_spoofing", parse_boolean },
                { "dhcp_reservations", parse_reservations },
                { "allow", parse_allow },
                { "idle_timeout_sec", parse_idle_timeout },
        };
        const char *key;
        json_t *value;

        json_object_foreach(p->root, key, value) {
                size_t i = 0;

                while (i < ARRAY_SIZE(members) && !text_equal(key, members[i].key))
                        i++;
                int r = i < ARRAY_SIZE(members) ? members[i].parse(p, key, value)
                                                : complain(p, SPOT(key), "unknown key \"%.64s\"", key);
                if (r < 0)
                        return r;
        }
        return check(p);
}

int definition_parse(const char *name, const char *source, const char *text, size_t size,
                     struct definition **ret, struct error *error) {
        enum definition_mode mode = MODE_SHARED;
        json_error_t syntax;
        json_auto_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &syntax);

        if (!root)
                return error_set(error, -EINVAL, "%s:%d: %s", source, syntax.line > 0 ? syntax.line : 1,
                                 syntax.text);
        if (!json_is_object(root))
                return error_set(error, -EINVAL, "%s:1: the file must hold one JSON object", source);

        definition_built_in(name, &mode);
        if (json_is_string(json_object_get(root, "mode")))
                definition_built_in(json_string_value(json_object_get(root, "mode")), &mode);

        _cleanup_(definition_freep) struct definition *definition = definition_new(name, source, mode);
        if (!definition)
                return -ENOMEM;

        struct parse p = {
                .definition = definition,
                .source = source,
                .text = text,
                .size = size,
                .root = root,
                .error = error,
        };
        int r = parse_members(&p);
        if (r < 0)
                return r;
        *ret = steal_ptr(definition);
        return 0;
}
