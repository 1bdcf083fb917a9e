/* The value of --network: a network's name and how to start an interface on it. */
#include "cli/network-option.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/arguments.h"

static int parse_mac(struct network_option *option, char *value, struct error *error) {
        struct mac mac;

        if (mac_parse(value, &mac) < 0 || !mac_is_unicast(&mac))
                return error_set(error, -EINVAL,
                                 "mac=%s: not the MAC address of an interface, such as "
                                 "52:54:00:12:34:56",
                                 value);
        option->interface.mac = mac_format(&mac, option->mac);
        return 0;
}

static int parse_name(struct network_option *option, char *value, struct error *error) {
        if (!text_is_label(value))
                return error_set(error, -EINVAL,
                                 "name=%s: a name has 1 to 63 letters, digits and hyphens, no hyphen "
                                 "at either end",
                                 value);
        option->interface.name = value;
        return 0;
}

static int parse_id(struct network_option *option, char *value, struct error *error) {
        for (char *c = value; *c; c++)
                *c = (char)tolower((unsigned char)*c);
        if (!text_is_uuid(value))
                return error_set(error, -EINVAL, "id=%s: not a UUID", value);
        option->interface.id = value;
        return 0;
}

static int parse_address(struct network_option *option, char *value, struct error *error) {
        uint32_t address;

        if (ipv4_parse(value, &address) < 0)
                return error_set(error, -EINVAL, "address=%s: not an IPv4 address", value);
        option->interface.address = value;
        return 0;
}

static int parse_number(const char *key, const char *value, uint64_t min, uint64_t max, uint32_t *ret,
                        struct error *error) {
        uint64_t number;

        if (text_parse_u64(value, max, &number) < 0 || number < min)
                return error_set(error, -EINVAL, "%s=%s: not a number from %u to %u", key, value,
                                 (unsigned)min, (unsigned)max);
        *ret = (uint32_t)number;
        return 0;
}

static int parse_mtu(struct network_option *option, char *value, struct error *error) {
        return parse_number("mtu", value, 68, 65535, &option->interface.mtu, error);
}

static int parse_queues(struct network_option *option, char *value, struct error *error) {
        return parse_number("queues", value, 1, NETWORK_OPTION_QUEUES_MAX, &option->interface.queues, error);
}

static int parse_isolated(struct network_option *option, char *value, struct error *error) {
        option->interface.isolated = true;
        return 0;
}

static const struct {
        const char *key;
        bool has_value;
        int (*parse)(struct network_option *option, char *value, struct error *error);
} members[] = {
        { "mac", true, parse_mac },
        { "name", true, parse_name },
        { "id", true, parse_id },
        { "address", true, parse_address },
        { "mtu", true, parse_mtu },
        { "queues", true, parse_queues },
        { "isolated", false, parse_isolated },
};

static int unknown_member(const char *key, struct error *error) {
        const char *keys[ARRAY_SIZE(members)], *nearest;

        for (size_t i = 0; i < ARRAY_SIZE(members); i++)
                keys[i] = members[i].key;
        nearest = arguments_nearest(key, keys, ARRAY_SIZE(keys));
        if (nearest)
                return error_set(error, -EINVAL, "%s: unknown; did you mean %s?", key, nearest);
        return error_set(error, -EINVAL,
                         "%s: unknown; there are mac, name, id, address, mtu, queues and isolated", key);
}

static int parse_member(struct network_option *option, char *part, unsigned *seen, struct error *error) {
        char *value = strchr(part, '=');

        if (value)
                *value++ = '\0';
        for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
                if (!text_equal(members[i].key, part))
                        continue;
                if (*seen & (1U << i))
                        return error_set(error, -EINVAL, "%s is given twice", part);
                *seen |= 1U << i;
                if (members[i].has_value && (!value || !value[0]))
                        return error_set(error, -EINVAL, "%s needs a value: %s=...", part, part);
                if (!members[i].has_value && value)
                        return error_set(error, -EINVAL, "%s takes no value", part);
                return members[i].parse(option, value, error);
        }
        return unknown_member(part, error);
}

int network_option_parse(struct network_option *ret, const char *value, struct error *error) {
        unsigned seen = 0;
        char *rest;
        int r = 0;

        *ret = (struct network_option){ .interface.size = sizeof(ret->interface), .text = strdup(value) };
        if (!ret->text)
                return error_set(error, -ENOMEM, "out of memory");
        rest = ret->text;
        ret->network = strsep(&rest, ",");
        if (!text_is_name(ret->network))
                r = error_set(error, -EINVAL, "\"%s\" is no name of a network", ret->network);
        while (r == 0 && rest)
                r = parse_member(ret, strsep(&rest, ","), &seen, error);
        if (r < 0) {
                network_option_deinit(ret);
                return error_prefix(error, "--network %s", value);
        }
        return 0;
}

void network_option_deinit(struct network_option *option) {
        free(option->text);
        *option = (struct network_option){ 0 };
}
