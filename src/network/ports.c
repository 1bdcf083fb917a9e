#include "network/ports.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

struct port {
        struct list entry;
        char device[LINK_NAME_MAX];
        char name[64]; /* empty: none */
        char id[37]; /* empty: none */
        struct mac mac;
        uint32_t address; /* 0: the network has no DHCP, and the VM chooses */
        uint64_t lease;
        uint32_t uid;
        unsigned mtu, queues;
        bool isolated;
        struct link link; /* as of the last look */
        bool seen, changed; /* by the last look: the device is there; it is no longer as we made it */
        bool leaving;
};

struct ports {
        struct ports_context context;
        struct list ports;
        size_t n;
};

int ports_new(struct ports **ret, const struct ports_context *context) {
        struct ports *ports = calloc(1, sizeof(*ports));
        if (!ports)
                return -ENOMEM;

        ports->context = *context;
        list_init(&ports->ports);
        *ret = ports;
        return 0;
}

static void forget(struct ports *ports, struct port *port) {
        if (port->address)
                addresses_give(ports->context.addresses, port->address);
        list_unlink(&port->entry);
        ports->n--;
        free(port);
}

struct ports *ports_free(struct ports *ports) {
        if (!ports)
                return NULL;
        list_for_each(struct port, port, &ports->ports, entry)
                forget(ports, port);
        free(ports);
        return NULL;
}

static struct ruleset_port rules_of(const struct port *port) {
        return (struct ruleset_port){ .name = port->device, .mac = port->mac, .address = port->address,
                                       .isolated = port->isolated };
}

/* The host's end of the tap has an address too, which no VM may have: the bridge keeps to itself what is for it. */
static struct mac device_mac(const struct port *port) {
        struct mac mac = port->mac;

        mac.octets[0] = mac.octets[0] == 0xfe ? 0xfa : 0xfe;
        return mac;
}

/* The alias: all that a successor must know, in less than the kernel's 256 bytes (IFALIASZ). */
static void format_alias(const struct port *port, char alias[static 256]) {
        char mac[MAC_TEXT_SIZE], address[INET_ADDRSTRLEN];

        snprintf(alias, 256, "berth %" PRIu64 " %" PRIu32 " %s %s %u %u %d %s %s", port->lease, port->uid,
                 mac_format(&port->mac, mac), ipv4_format(port->address, address), port->mtu, port->queues,
                 port->isolated, *port->name ? port->name : "-", *port->id ? port->id : "-");
}

static bool parse_alias(const char *alias, struct port *ret) {
        char mac[MAC_TEXT_SIZE], address[INET_ADDRSTRLEN];
        int isolated;

        if (sscanf(alias, "berth %" SCNu64 " %" SCNu32 " %17s %15s %u %u %d %63s %36s", &ret->lease, &ret->uid, mac,
                   address, &ret->mtu, &ret->queues, &isolated, ret->name, ret->id) != 9 ||
            mac_parse(mac, &ret->mac) < 0 || ipv4_parse(address, &ret->address) < 0)
                return false;
        ret->isolated = isolated;
        if (strcmp(ret->name, "-") == 0)
                ret->name[0] = 0;
        if (strcmp(ret->id, "-") == 0)
                ret->id[0] = 0;
        return true;
}

static char *identity_of(const struct port *port, bool own_mac) {
        char mac[MAC_TEXT_SIZE];

        if (*port->id)
                return text_format("id:%s", port->id);
        if (*port->name)
                return text_format("name:%s", port->name);
        return own_mac ? text_format("mac:%s", mac_format(&port->mac, mac)) : NULL;
}

static void adopt_link(const struct link *link, void *data) {
        struct ports *ports = data;
        struct error error = ERROR_INIT;

        if (!text_starts_with(link->alias, "berth "))
                return;
        struct port *port = calloc(1, sizeof(*port));
        if (!port || !parse_alias(link->alias, port)) {
                free(port);
                return;
        }
        strcpy(port->device, link->name);
        if (port->address) {
                _cleanup_free_ char *identity = identity_of(port, true);
                uint32_t address;
                if (addresses_take(ports->context.addresses, identity, &port->mac, port->address, &address, &error) < 0)
                        log_warning("%s: %s", port->device, error.text);
        }
        list_append(&ports->ports, &port->entry);
        ports->n++;
}

int ports_adopt(struct ports *ports, struct error *error) {
        return links_dump(ports->context.links, adopt_link, ports, error);
}

/* What the caller wants, checked against the form of things and against the network. */
static int parse_request(const struct ports *ports, const struct port_request *request, struct port *port,
                         uint32_t *ret_wanted, struct error *error) {
        const struct configuration *c = ports->context.configuration;

        if (request->name && !text_is_label(request->name))
                return error_set(error, -EINVAL,
                                 "\"name\": \"%s\" is no DNS label (letters, digits and hyphens, at most 63)",
                                 request->name);
        if (request->name && text_is_reserved_label(request->name))
                return error_set(error, -EINVAL,
                                 "\"name\": no VM may have the name \"%s\", which stands for something else here",
                                 request->name);
        if (request->id && !text_is_uuid(request->id))
                return error_set(error, -EINVAL, "\"id\": \"%s\" is no UUID in lower case", request->id);
        if (request->mac && mac_parse(request->mac, &port->mac) < 0)
                return error_set(error, -EINVAL, "\"mac\": \"%s\" is no MAC address (52:54:00:12:34:56)", request->mac);
        if (request->mac && !mac_is_unicast(&port->mac))
                return error_set(error, -EINVAL, "\"mac\": %s is a group's address, or nobody's", request->mac);
        if (request->address && ipv4_parse(request->address, ret_wanted) < 0)
                return error_set(error, -EINVAL, "\"address\": \"%s\" is no IPv4 address", request->address);
        if (request->address && !c->dhcp)
                return error_set(error, -EINVAL, "\"address\": the network %s has no DHCP to assign one", c->name);
        if (request->mtu > c->mtu)
                return error_set(error, -EINVAL, "\"mtu\": %u is more than the network's %u", request->mtu, c->mtu);

        snprintf(port->name, sizeof(port->name), "%s", request->name ? request->name : "");
        snprintf(port->id, sizeof(port->id), "%s", request->id ? request->id : "");
        port->mtu = request->mtu ? request->mtu : c->mtu;
        port->queues = request->queues ? request->queues : 1;
        port->isolated = request->isolated;
        port->lease = request->lease;
        port->uid = request->uid;
        return 0;
}

/* Two ports may share neither name nor id nor MAC, and a user may have so many. */
static int check_others(const struct ports *ports, const struct port *port, struct error *error) {
        const struct configuration *c = ports->context.configuration;
        struct mac gateway = addresses_mac(c, "gateway");
        char mac[MAC_TEXT_SIZE];
        unsigned of_user = 0;

        mac_format(&port->mac, mac);
        if (mac_equal(&gateway, &port->mac))
                return error_set(error, -EADDRINUSE, "the MAC address %s is the gateway's", mac);
        list_for_each(struct port, other, &((struct ports *)ports)->ports, entry) {
                of_user += other->uid == port->uid;
                if (*port->name && strcasecmp(port->name, other->name) == 0)
                        return error_set(error, -EEXIST, "the name %s is in use on the network %s (by %s)", port->name,
                                         c->name, other->device);
                if (*port->id && text_equal(port->id, other->id))
                        return error_set(error, -EEXIST, "the id %s is in use on the network %s (by %s)", port->id,
                                         c->name, other->device);
                struct mac taken = device_mac(other);
                if (mac_equal(&port->mac, &other->mac) || mac_equal(&port->mac, &taken))
                        return error_set(error, -EADDRINUSE, "the MAC address %s is in use on the network %s (by %s)",
                                         mac, c->name, other->device);
        }
        if (of_user >= c->max_interfaces_per_user)
                return error_set(error, -EDQUOT, "the user %u has %u interfaces on the network %s, which is the limit",
                                 port->uid, of_user, c->name);
        return 0;
}

/* The lowest number that is free: also one whose device is gone but which we still have rules for is not, nor one whose
 * device is none of ours. */
static void choose_device(const struct ports *ports, struct port *port) {
        for (unsigned i = 1;; i++) {
                snprintf(port->device, sizeof(port->device), "port%u", i);
                bool taken = links_find(ports->context.links, port->device) >= 0;
                list_for_each(struct port, other, &((struct ports *)ports)->ports, entry)
                        taken |= strcmp(other->device, port->device) == 0;
                if (!taken)
                        return;
        }
}

static int identify(struct ports *ports, struct port *port, bool own_mac, uint32_t wanted, struct error *error) {
        const struct configuration *c = ports->context.configuration;
        _cleanup_free_ char *identity = identity_of(port, own_mac);

        if (!own_mac)
                port->mac = identity ? addresses_mac(c, identity) : addresses_random_mac();
        int r = check_others(ports, port, error);
        if (r < 0)
                return r;
        choose_device(ports, port);
        return c->dhcp ? addresses_take(ports->context.addresses, identity, &port->mac, wanted, &port->address, error) :
                         0;
}

/* The tap itself is no host: it gets no address and listens to no router. */
static int silence(const struct port *port, struct error *error) {
        char path[96];

        snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", port->device);
        int r = file_write_in_place(path, "1", error);
        return r == -ENOENT ? 0 : r; /* a kernel without IPv6 */
}

/* The device, its rules, and its place on the bridge, in the order that leaves no moment without the rules. */
static int make(struct ports *ports, struct port *port, int fds[static TAP_QUEUES_MAX], struct error *error) {
        const struct configuration *c = ports->context.configuration;
        struct ruleset_port rules = rules_of(port);
        struct mac mac = device_mac(port);
        char alias[256];

        int r = tap_open(port->device, port->queues, fds, error);
        if (r < 0)
                return r;
        format_alias(port, alias);
        r = silence(port, error);
        if (r >= 0)
                r = ruleset_add_port(c, &rules, error);
        if (r >= 0) {
                r = links_set_port(ports->context.links, port->device, RULESET_BRIDGE, alias, &mac,
                                   port->mtu, port->isolated, error);
                if (r < 0)
                        ruleset_remove_ports(c, &rules, 1, NULL);
        }
        for (size_t i = 0; r < 0 && i < port->queues; i++)
                fds[i] = fd_close(fds[i]);
        return r;
}

static json_t *describe_start(const struct configuration *c, const struct port *port) {
        char mac[MAC_TEXT_SIZE], address[INET_ADDRSTRLEN], address6[INET6_ADDRSTRLEN];
        json_t *object = json_pack("{ss ss si si si si sb}", "port", port->device, "mac",
                                   mac_format(&port->mac, mac), "mtu", (int)port->mtu, "max_packet_size",
                                   (int)port->mtu + 14, "queues", (int)port->queues, "vnet_header_size",
                                   TAP_VNET_HEADER_SIZE, "isolated", port->isolated);

        if (object && *port->name)
                json_object_set_new(object, "name", json_string(port->name));
        if (object && *port->id)
                json_object_set_new(object, "id", json_string(port->id));
        if (object && port->address)
                json_object_set_new(object, "address", json_string(ipv4_format(port->address, address)));
        if (object && port->address && c->ipv6) {
                struct in6_addr a = configuration_address6(c, port->address & ~c->mask);
                json_object_set_new(object, "ipv6_address", json_string(ipv6_format(&a, address6)));
        }
        return object;
}

int ports_start(struct ports *ports, const struct port_request *request, int ret_fds[static TAP_QUEUES_MAX],
                size_t *ret_n_fds, json_t **ret_interface, struct error *error) {
        uint32_t wanted = 0;

        struct port *port = calloc(1, sizeof(*port));
        if (!port)
                return -ENOMEM;
        list_init(&port->entry);

        int r = parse_request(ports, request, port, &wanted, error);
        if (r >= 0)
                r = identify(ports, port, request->mac != NULL, wanted, error);
        if (r < 0) {
                free(port);
                return r;
        }
        ports->n++;
        list_append(&ports->ports, &port->entry);
        r = make(ports, port, ret_fds, error);
        if (r < 0) {
                forget(ports, port);
                return -EIO; /* the request is not to blame, whatever the kernel called it */
        }
        *ret_n_fds = port->queues;
        *ret_interface = describe_start(ports->context.configuration, port);
        ports->context.changed(ports->context.data);
        return 0;
}

/* Removes those that are marked as leaving: their rules in one transaction, for each takes its time, and a client may
 * have hundreds of ports. */
static void remove_leaving(struct ports *ports) {
        _cleanup_free_ struct ruleset_port *rules = calloc(ports->n + 1, sizeof(*rules));
        struct error error = ERROR_INIT;
        size_t n = 0;

        list_for_each(struct port, port, &ports->ports, entry)
                if (port->leaving && rules) {
                        rules[n++] = rules_of(port);
                        if (links_delete(ports->context.links, port->device, &error) < 0)
                                log_warning("%s: %s", port->device, error.text);
                }
        if (n == 0)
                return;
        if (ruleset_remove_ports(ports->context.configuration, rules, n, &error) < 0)
                log_warning("%s", error.text);
        list_for_each(struct port, port, &ports->ports, entry)
                if (port->leaving)
                        forget(ports, port);
        ports->context.changed(ports->context.data);
}

int ports_stop(struct ports *ports, uint64_t lease, const char *device, struct error *error) {
        list_for_each(struct port, port, &ports->ports, entry)
                if (port->lease == lease && strcmp(port->device, device) == 0) {
                        port->leaving = true;
                        remove_leaving(ports);
                        return 0;
                }
        return error_set(error, -ENOENT, "this lease has no interface %s", device);
}

void ports_end_lease(struct ports *ports, uint64_t lease) {
        list_for_each(struct port, port, &ports->ports, entry)
                port->leaving |= port->lease == lease;
        remove_leaving(ports);
}

static void see_link(const struct link *link, void *data) {
        struct ports *ports = data;

        list_for_each(struct port, port, &ports->ports, entry)
                if (strcmp(port->device, link->name) == 0) {
                        struct mac mac = device_mac(port);
                        port->seen = true;
                        /* Whoever holds a tap may set its address, without any privilege (tun_chr_ioctl,
                         * SIOCSIFHWADDR), to another VM's, say. */
                        port->changed = !mac_equal(&link->mac, &mac);
                        port->link = *link;
                        return;
                }
}

static int see(struct ports *ports) {
        struct error error = ERROR_INIT;

        list_for_each(struct port, port, &ports->ports, entry)
                port->seen = false;
        int r = links_dump(ports->context.links, see_link, ports, &error);
        if (r < 0)
                log_warning("%s", error.text);
        return r;
}

void ports_look(struct ports *ports) {
        if (see(ports) < 0)
                return;
        list_for_each(struct port, port, &ports->ports, entry) {
                if (port->seen && port->changed)
                        log_warning("%s is removed: its holder changed its address", port->device);
                port->leaving |= !port->seen || port->changed;
        }
        remove_leaving(ports);
}

uint32_t ports_find_address(const struct ports *ports, const char *name) {
        list_for_each(struct port, port, &((struct ports *)ports)->ports, entry)
                if (*port->name && strcasecmp(port->name, name) == 0)
                        return port->address;
        return 0;
}

size_t ports_count(const struct ports *ports) {
        return ports->n;
}

size_t ports_summarize(const struct ports *ports, struct port_summary *ret, size_t n) {
        size_t i = 0;

        list_for_each(struct port, port, &((struct ports *)ports)->ports, entry)
                if (i < n)
                        ret[i++] = (struct port_summary){ .mac = port->mac, .address = port->address,
                                                          .port = port->device,
                                                          .isolated = port->isolated,
                                                          .name = *port->name ? port->name : NULL };
        return i;
}

json_t *ports_describe(struct ports *ports) {
        json_t *array = json_array();

        see(ports);
        list_for_each(struct port, port, &ports->ports, entry) {
                /* What the host's side of a tap sends, the VM receives. */
                json_t *object = describe_start(ports->context.configuration, port);
                json_object_set_new(object, "lease", json_integer((json_int_t)port->lease));
                json_object_set_new(object, "rx_packets", json_integer((json_int_t)port->link.tx_packets));
                json_object_set_new(object, "rx_bytes", json_integer((json_int_t)port->link.tx_bytes));
                json_object_set_new(object, "rx_dropped", json_integer((json_int_t)port->link.tx_dropped));
                json_object_set_new(object, "tx_packets", json_integer((json_int_t)port->link.rx_packets));
                json_object_set_new(object, "tx_bytes", json_integer((json_int_t)port->link.rx_bytes));
                json_object_set_new(object, "tx_dropped", json_integer((json_int_t)port->link.rx_dropped));
                json_array_append_new(array, object);
        }
        return array;
}
