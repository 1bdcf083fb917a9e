/* Installation: what is chosen once and remembered, in STATE/installation.json. */
#pragma once

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "broker/subnet.h"

/*
 *   {"ula": "fd1c:9a04:77b2", "key": "32 hexadecimal digits",
 *    "networks": {"shared": {"subnet": "192.168.64.1", "index": 64}}}
 *
 * - ula: a /48 of RFC 4193, section 3.2.2, from random bits. A network's /64 is the one with its index; the
 *   last one, ffff, is the host's own towards its networks.
 * - key: from which the networks' processes derive MAC addresses.
 * - networks: by name, the automatic subnet's gateway (absent where the subnet is configured) and the index,
 *   which never changes once given: the third octet of the subnet where that is free, otherwise from 256 up.
 */
struct installation {
        char *path;
        struct in6_addr ula; /* zero behind the /48 */
        char key[33];
        json_t *networks;
};

#define INSTALLATION_INIT ((struct installation){ .path = NULL })
#define INSTALLATION_INDEX_MAX 0xfffe

struct remembered {
        uint32_t gateway; /* host byte order, 0: none */
        unsigned index;
};

/*
 * Reads the file, or makes it with new numbers. A file that cannot be understood is renamed to
 * PATH.corrupt-TIME and replaced, with a warning in the log. 0 or -errno.
 */
int installation_load(const char *path, struct installation *ret, struct error *error);
void installation_deinit(struct installation *installation);

/* 0 or -ENOENT. */
int installation_find(const struct installation *installation, const char *name, struct remembered *ret);
/* Sets an entry; installation_save makes it last. 0 or -ENOMEM. */
int installation_remember(struct installation *installation, const char *name,
                          const struct remembered *remembered);
void installation_forget(struct installation *installation, const char *name);
int installation_save(const struct installation *installation, struct error *error);

/* `wish` where no network has it, else the lowest free one from 256 up; -EADDRINUSE where there is none. */
int installation_pick_index(const struct installation *installation, unsigned wish, unsigned *ret);
/* Adds the remembered automatic subnets of all networks but `except`. 0 or -ENOMEM. */
int installation_add_claims(const struct installation *installation, const char *except,
                            struct claims *claims);

struct in6_addr installation_prefix(const struct installation *installation, unsigned index);
struct in6_addr installation_host(const struct installation *installation);
