#include "broker/installation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/address.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "wire/fields.h"

#define FILE_MAX (1024 * 1024)
#define HOST_SUBNET 0xffff /* below the ULA */

static const char hexadecimal[] = "0123456789abcdef";

static int parse_remembered(json_t *object, struct remembered *ret, struct error *error) {
        const char *subnet = NULL;
        uint64_t index = 0;
        const struct field fields[] = {
                { "subnet", FIELD_STRING, false, &subnet, 0, 0 },
                { "index", FIELD_U64, true, &index, 0, INSTALLATION_INDEX_MAX },
        };

        int r = fields_parse(object, fields, ARRAY_SIZE(fields), false, error);
        if (r < 0)
                return r;
        *ret = (struct remembered){ .index = (unsigned)index };
        if (subnet && ipv4_parse(subnet, &ret->gateway) < 0)
                return error_set(error, -EINVAL, "\"%s\" is no IPv4 address", subnet);
        return 0;
}

static int parse_ula(const char *text, struct in6_addr *ret, struct error *error) {
        char address[INET6_ADDRSTRLEN];

        if (strlen(text) != strlen("fd00:0000:0000"))
                return error_set(error, -EINVAL, "\"ula\" is no /48");
        snprintf(address, sizeof(address), "%s::", text);
        if (ipv6_parse(address, ret) < 0 || ret->s6_addr[0] != 0xfd)
                return error_set(error, -EINVAL, "\"ula\" is no /48");
        memset(&ret->s6_addr[6], 0, 10);
        return 0;
}

static int parse(json_t *root, struct installation *installation, struct error *error) {
        const char *ula = NULL, *key = NULL, *name;
        json_t *networks = NULL, *entry;
        const struct field fields[] = {
                { "ula", FIELD_STRING, true, &ula, 0, 0 },
                { "key", FIELD_STRING, true, &key, 0, 0 },
                { "networks", FIELD_OBJECT, true, &networks, 0, 0 },
        };

        int r = fields_parse(root, fields, ARRAY_SIZE(fields), false, error);
        if (r < 0)
                return r;
        r = parse_ula(ula, &installation->ula, error);
        if (r < 0)
                return r;
        if (strlen(key) != 32 || strspn(key, hexadecimal) != 32)
                return error_set(error, -EINVAL, "\"key\" is not of 32 hexadecimal digits");
        strcpy(installation->key, key);
        json_object_foreach(networks, name, entry) {
                struct remembered remembered;

                r = parse_remembered(entry, &remembered, error);
                if (r < 0)
                        return error_prefix(error, "network \"%.64s\"", name);
        }
        installation->networks = json_incref(networks);
        return 0;
}

static int make(struct installation *installation, struct error *error) {
        uint8_t random[5 + 16];

        if (getrandom(random, sizeof(random), 0) != sizeof(random))
                return error_errno(error, -EIO, "no random numbers");
        installation->ula = (struct in6_addr)IN6ADDR_ANY_INIT;
        installation->ula.s6_addr[0] = 0xfd;
        memcpy(&installation->ula.s6_addr[1], random, 5);
        for (size_t i = 0; i < 16; i++) {
                installation->key[2 * i] = hexadecimal[random[5 + i] >> 4];
                installation->key[2 * i + 1] = hexadecimal[random[5 + i] & 15];
        }
        installation->key[32] = 0;
        installation->networks = json_object();
        return installation->networks ? installation_save(installation, error) : -ENOMEM;
}

/* Nothing of a broken file may be lost: somebody may want the old numbers back. */
static void set_aside(const char *path, const struct error *reason) {
        _cleanup_free_ char *aside = text_format("%s.corrupt-%lld", path, (long long)time(NULL));

        if (aside && rename(path, aside) == 0)
                log_warning("%s: %s; it is now %s, and networks get new addresses", path,
                            error_text(reason, 0), aside);
        else
                log_warning("%s: %s; networks get new addresses", path, error_text(reason, 0));
}

int installation_load(const char *path, struct installation *ret, struct error *error) {
        _cleanup_(installation_deinit) struct installation installation = INSTALLATION_INIT;
        json_auto_t *root = NULL;
        _cleanup_free_ char *text = NULL;
        struct error reason = ERROR_INIT;
        json_error_t syntax;
        size_t size;

        installation.path = strdup(path);
        if (!installation.path)
                return -ENOMEM;

        int r = file_read(path, FILE_MAX, &text, &size, error);
        if (r < 0 && r != -ENOENT && r != -EFBIG)
                return r;
        if (r == 0) {
                root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &syntax);
                if (!root)
                        r = error_set(&reason, -EINVAL, "line %d: %s", syntax.line, syntax.text);
                else
                        r = parse(root, &installation, &reason);
        }
        if (r < 0) {
                if (r != -ENOENT)
                        set_aside(path, &reason);
                r = make(&installation, error);
                if (r < 0)
                        return r;
        }
        *ret = installation;
        installation = INSTALLATION_INIT;
        return 0;
}

void installation_deinit(struct installation *installation) {
        free(installation->path);
        json_decref(installation->networks);
        *installation = INSTALLATION_INIT;
}

int installation_find(const struct installation *installation, const char *name, struct remembered *ret) {
        json_t *entry = json_object_get(installation->networks, name);

        return entry ? parse_remembered(entry, ret, NULL) : -ENOENT;
}

int installation_remember(struct installation *installation, const char *name,
                          const struct remembered *remembered) {
        char gateway[INET_ADDRSTRLEN];
        json_t *entry = json_pack("{s:s*, s:i}", "subnet",
                                  remembered->gateway ? ipv4_format(remembered->gateway, gateway) : NULL,
                                  "index", (int)remembered->index);

        return json_object_set_new(installation->networks, name, entry) < 0 ? -ENOMEM : 0;
}

void installation_forget(struct installation *installation, const char *name) {
        json_object_del(installation->networks, name);
}

int installation_save(const struct installation *installation, struct error *error) {
        const uint8_t *a = installation->ula.s6_addr;
        char ula[sizeof("fd00:0000:0000")];

        snprintf(ula, sizeof(ula), "%02x%02x:%02x%02x:%02x%02x", a[0], a[1], a[2], a[3], a[4], a[5]);
        json_auto_t *root = json_pack("{ss ss sO}", "ula", ula, "key", installation->key, "networks",
                                      installation->networks);
        _cleanup_free_ char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
        if (!text)
                return -ENOMEM;
        return file_write(installation->path, text, strlen(text), 0600, true, error);
}

static bool index_taken(const struct installation *installation, unsigned index) {
        const char *name;
        json_t *entry;

        json_object_foreach(installation->networks, name, entry)
                if (json_integer_value(json_object_get(entry, "index")) == (json_int_t)index)
                        return true;
        return false;
}

int installation_pick_index(const struct installation *installation, unsigned wish, unsigned *ret) {
        if (wish != 0 && !index_taken(installation, wish)) {
                *ret = wish;
                return 0;
        }
        for (unsigned index = 256; index <= INSTALLATION_INDEX_MAX; index++)
                if (!index_taken(installation, index)) {
                        *ret = index;
                        return 0;
                }
        return -EADDRINUSE;
}

int installation_add_claims(const struct installation *installation, const char *except,
                            struct claims *claims) {
        const char *name;
        json_t *entry;

        json_object_foreach(installation->networks, name, entry) {
                struct remembered remembered;

                if (text_equal(name, except) || parse_remembered(entry, &remembered, NULL) < 0 ||
                    !remembered.gateway)
                        continue;
                struct prefix prefix = prefix_ipv4(remembered.gateway, SUBNET_LENGTH);
                int r = claims_add(claims, &prefix, CLAIM_REMEMBERED, name);
                if (r < 0)
                        return r;
        }
        return 0;
}

struct in6_addr installation_prefix(const struct installation *installation, unsigned index) {
        struct in6_addr prefix = installation->ula;

        prefix.s6_addr[6] = (uint8_t)(index >> 8);
        prefix.s6_addr[7] = (uint8_t)index;
        return prefix;
}

struct in6_addr installation_host(const struct installation *installation) {
        struct in6_addr host = installation_prefix(installation, HOST_SUBNET);

        host.s6_addr[15] = 1;
        return host;
}
