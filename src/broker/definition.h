/* Definition: what a network is to be, built in or from a file. The format is in berth-networks(5). */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/address.h"
#include "base/error.h"

#define DEFINITION_FILE_MAX (256 * 1024) /* bytes */
/* With 63-byte names these fill about half a line of the wire, and all must go into the one `configure`. */
#define DEFINITION_RESERVATIONS_MAX 256
#define DEFINITION_MTU_MIN 1280 /* what IPv6 needs (RFC 8200, section 5) */
#define DEFINITION_MTU_MAX 65520
#define DEFINITION_IDLE_MAX (365 * 24 * 3600) /* seconds */

enum definition_mode { MODE_SHARED, MODE_HOST };
enum definition_ipv6 { IPV6_AUTOMATIC, IPV6_NONE, IPV6_FIXED };

struct reservation {
        struct mac mac;
        uint32_t address; /* host byte order */
        char name[64]; /* empty: none */
};

struct allow {
        bool given; /* false: the default of the broker's mode */
        bool everyone;
        uid_t *uids;
        size_t n_uids;
        gid_t *gids;
        size_t n_gids;
};

struct definition {
        char *name;
        char *source; /* "built in", or the file */
        char *description;
        enum definition_mode mode;
        uint32_t gateway; /* host byte order; 0: automatic */
        unsigned mask_length; /* with gateway */
        enum definition_ipv6 ipv6;
        struct in6_addr ipv6_prefix; /* with IPV6_FIXED, a /64 */
        unsigned mtu;
        bool dhcp, dns, nat44, nat66, router_advertisement, anti_spoofing;
        struct reservation *reservations;
        size_t n_reservations;
        struct allow allow;
        bool has_idle_timeout; /* false: the broker's default */
        unsigned idle_timeout; /* seconds */
};

/* An all-default definition of that name and mode, both strings copied. NULL when memory is short. */
struct definition *definition_new(const char *name, const char *source, enum definition_mode mode);
/* NULL is fine. Returns NULL. */
struct definition *definition_free(struct definition *definition);
void definition_freep(struct definition **definition);

const char *definition_mode_name(enum definition_mode mode);
/* The mode of the built-in network of that name: 0, or -ENOENT. */
int definition_built_in(const char *name, enum definition_mode *ret);
const char *definition_built_in_description(enum definition_mode mode);

/*
 * Reads a file's text. What it does not say is as in the built-in network of that name, or in `shared`. An
 * error is -EINVAL with a text "SOURCE:LINE: reason". User and group names are looked up here, so that a
 * wrong one is an error with its line.
 */
int definition_parse(const char *name, const char *source, const char *text, size_t size,
                     struct definition **ret, struct error *error);
