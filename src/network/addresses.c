#include "network/addresses.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/siphash.h"
#include "base/text.h"

/* Far more than a memory of 65,534 identities of 80 bytes. */
#define MEMORY_MAX (16UL * 1024 * 1024)
/* No more than a /16 is handed out, and no more than this is kept in memory for. */
#define HOSTS_MAX 65534U

struct entry {
        char *identity; /* NULL: a passing interface, or nobody */
        uint64_t seen; /* seconds since the epoch, of the last take or give; 0: never */
        bool live;
};

struct addresses {
        const struct configuration *configuration;
        char *path;
        uint32_t base; /* the subnet; host number i is base + i */
        uint32_t n; /* host numbers 1 to n */
        struct entry *entries; /* n + 1, by host number */
};

static struct entry *find_entry(struct addresses *addresses, uint32_t address) {
        uint32_t host = address - addresses->base;

        return host >= 1 && host <= addresses->n ? &addresses->entries[host] : NULL;
}

static const struct reservation *reservation_of(const struct configuration *c, uint32_t address) {
        for (size_t i = 0; i < c->n_reservations; i++)
                if (c->reservations[i].address == address)
                        return &c->reservations[i];
        return NULL;
}

static void recall(struct addresses *addresses) {
        _cleanup_free_ char *text = NULL;
        size_t size, i;
        json_t *entry;
        struct error error = ERROR_INIT;

        int r = file_read(addresses->path, MEMORY_MAX, &text, &size, &error);
        if (r == -ENOENT)
                return;
        json_t *memory = r == 0 ? json_loadb(text, size, 0, NULL) : NULL;
        if (!json_is_array(memory)) {
                log_warning("%s cannot be read and is begun anew: addresses may change", addresses->path);
                json_decref(memory);
                return;
        }
        json_array_foreach(memory, i, entry) {
                uint32_t address;
                const char *text4 = json_string_value(json_object_get(entry, "address"));
                const char *identity = json_string_value(json_object_get(entry, "identity"));
                if (!text4 || !identity || ipv4_parse(text4, &address) < 0)
                        continue;
                struct entry *e = find_entry(addresses, address);
                if (e && !e->identity && address != addresses->configuration->gateway) {
                        e->identity = strdup(identity);
                        e->seen = (uint64_t)json_integer_value(json_object_get(entry, "seen"));
                }
        }
        json_decref(memory);
}

static int remember(struct addresses *addresses, struct error *error) {
        json_t *memory = json_array();

        for (uint32_t i = 1; i <= addresses->n; i++) {
                char address[INET_ADDRSTRLEN];
                const struct entry *e = &addresses->entries[i];
                if (e->identity)
                        json_array_append_new(memory, json_pack("{ss ss sI}", "identity", e->identity, "address",
                                                                ipv4_format(addresses->base + i, address), "seen",
                                                                (json_int_t)e->seen));
        }
        _cleanup_free_ char *text = json_dumps(memory, JSON_INDENT(1));
        json_decref(memory);
        if (!text)
                return -ENOMEM;
        return file_write(addresses->path, text, strlen(text), 0600, false, error);
}

int addresses_new(struct addresses **ret, const struct configuration *configuration, struct error *error) {
        struct addresses *addresses = calloc(1, sizeof(*addresses));
        if (!addresses)
                return -ENOMEM;

        uint32_t hosts = ~configuration->mask - 1;
        addresses->configuration = configuration;
        addresses->base = configuration->gateway & configuration->mask;
        addresses->n = hosts < HOSTS_MAX ? hosts : HOSTS_MAX;
        addresses->entries = calloc(addresses->n + 1, sizeof(*addresses->entries));
        addresses->path = text_format("%s/addresses.json", configuration->state_directory);
        if (!addresses->entries || !addresses->path) {
                addresses_free(addresses);
                return error_set(error, -ENOMEM, "no memory for the subnet's addresses");
        }
        recall(addresses);
        *ret = addresses;
        return 0;
}

struct addresses *addresses_free(struct addresses *addresses) {
        if (!addresses)
                return NULL;
        for (uint32_t i = 0; addresses->entries && i <= addresses->n; i++)
                free(addresses->entries[i].identity);
        free(addresses->entries);
        free(addresses->path);
        free(addresses);
        return NULL;
}

/* Whether the address may be given to the holder of this MAC at all, live or not. */
static bool is_open(const struct addresses *addresses, uint32_t address, const struct mac *mac) {
        const struct configuration *c = addresses->configuration;
        const struct reservation *reservation = reservation_of(c, address);

        return address != c->gateway && (!reservation || mac_equal(&reservation->mac, mac));
}

/* A free host number: one that no identity holds, else the one whose identity was away the longest. 0: none. */
static uint32_t choose(const struct addresses *addresses, const struct mac *mac) {
        uint32_t oldest = 0;

        for (uint32_t i = 1; i <= addresses->n; i++) {
                const struct entry *e = &addresses->entries[i];
                if (e->live || !is_open(addresses, addresses->base + i, mac))
                        continue;
                if (!e->identity)
                        return i;
                if (oldest == 0 || e->seen < addresses->entries[oldest].seen)
                        oldest = i;
        }
        return oldest;
}

static uint32_t host_of_identity(const struct addresses *addresses, const char *identity) {
        for (uint32_t i = 1; identity && i <= addresses->n; i++)
                if (text_equal(addresses->entries[i].identity, identity))
                        return i;
        return 0;
}

static int select_host(struct addresses *addresses, const char *identity, const struct mac *mac, uint32_t wanted,
                       uint32_t *ret, struct error *error) {
        const struct configuration *c = addresses->configuration;
        char text[INET_ADDRSTRLEN];

        for (size_t i = 0; i < c->n_reservations && !wanted; i++)
                if (mac_equal(&c->reservations[i].mac, mac))
                        wanted = c->reservations[i].address;
        if (wanted) {
                const struct entry *e = find_entry(addresses, wanted);
                ipv4_format(wanted, text);
                if (!e || wanted == c->gateway)
                        return error_set(error, -EINVAL, "%s is no address that a VM can have on this network", text);
                if (e->live || !is_open(addresses, wanted, mac))
                        return error_set(error, -EADDRINUSE, "the address %s is %s", text,
                                         e->live ? "in use" : "reserved for another MAC address");
                *ret = wanted - addresses->base;
                return 0;
        }

        uint32_t host = host_of_identity(addresses, identity);
        if (!host || addresses->entries[host].live || !is_open(addresses, addresses->base + host, mac))
                host = choose(addresses, mac);
        if (!host)
                return error_set(error, -ENOSPC, "all %u addresses of the network are in use", addresses->n - 1);
        *ret = host;
        return 0;
}

int addresses_take(struct addresses *addresses, const char *identity, const struct mac *mac, uint32_t wanted,
                   uint32_t *ret, struct error *error) {
        uint32_t host = 0;

        int r = select_host(addresses, identity, mac, wanted, &host, error);
        if (r < 0)
                return r;

        struct entry *e = &addresses->entries[host];
        uint32_t former = host_of_identity(addresses, identity);
        bool same = identity && former == host;
        e->live = true;
        e->seen = (uint64_t)time(NULL);
        *ret = addresses->base + host;
        if (same || (!identity && !e->identity))
                return 0;

        /* The identity moves here, and whoever was remembered here is forgotten. */
        if (former && !addresses->entries[former].live) {
                free(addresses->entries[former].identity);
                addresses->entries[former].identity = NULL;
        }
        free(e->identity);
        e->identity = identity ? strdup(identity) : NULL;
        r = remember(addresses, error);
        if (r < 0)
                e->live = false;
        return r;
}

void addresses_give(struct addresses *addresses, uint32_t address) {
        struct entry *e = find_entry(addresses, address);

        if (e) {
                e->live = false;
                e->seen = (uint64_t)time(NULL);
        }
}

struct mac addresses_mac(const struct configuration *configuration, const char *identity) {
        _cleanup_free_ char *input = text_format("%s/%s", configuration->name, identity);
        uint64_t hash = input ? siphash(configuration->key, input, strlen(input)) : 0;
        struct mac mac;

        memcpy(mac.octets, &hash, sizeof(mac.octets));
        mac.octets[0] = (uint8_t)((mac.octets[0] & 0xfc) | 0x02);
        return mac;
}

struct mac addresses_random_mac(void) {
        struct mac mac;

        while (getrandom(mac.octets, sizeof(mac.octets), 0) < 0 && errno == EINTR)
                ;
        mac.octets[0] = (uint8_t)((mac.octets[0] & 0xfc) | 0x02);
        return mac;
}
