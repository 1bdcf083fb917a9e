/* Uplink: the way from a network to the host and beyond it. */
#pragma once

#include <jansson.h>

#include "loop/loop.h"
#include "network/configuration.h"
#include "network/links.h"
#include "network/outpost.h"
#include "network/ruleset.h"

/*
 * In system mode a veth pair into the host's namespace, which routes and masquerades; in user mode pasta, which makes
 * sockets of the host's out of the packets. Both give the device RULESET_UPLINK in the network's namespace.
 */
struct uplink;

/* What an uplink is made with; all borrowed for its life. */
struct uplink_context {
        struct loop *loop;
        const struct configuration *configuration;
        struct links *links; /* of the network's namespace */
        struct links *host_links; /* of the host's; in system mode it can change things there */
        int namespace; /* of the network */
        int user_namespace; /* -1 in system mode */
        int host_namespace;
        struct outpost *outpost;
        /* The uplink came up or went down, or leads to the host in another way than before. */
        void (*changed)(void *data);
        void *data;
};

struct uplink_ops {
        const char *kind; /* "veth", "pasta" */
        /* Finds what it needs, so that a network without it is refused when it is made. Starts nothing. */
        int (*new)(void **ret, const struct uplink_context *context, struct error *error);
        void (*free)(void *uplink);
        int (*start)(void *uplink, struct error *error);
        /* Takes away what would stay behind in the host's namespace. */
        void (*stop)(void *uplink);
        /* The host's addresses or routes changed, or the device RULESET_UPLINK did. */
        void (*look)(void *uplink);
        /* The host's rules changed, by whomever. NULL: it has none there. */
        void (*look_at_rules)(void *uplink);
        struct ruleset_uplink (*rules)(const void *uplink);
        bool (*is_up)(const void *uplink);
        /* Why it is not up, or what it cannot do, or "". */
        const char *(*message)(const void *uplink);
        json_t *(*describe)(const void *uplink); /* {"pid","restarts"} of a program, or an empty object */
};

extern const struct uplink_ops uplink_veth;
extern const struct uplink_ops uplink_pasta;

/* The link-local pair (RFC 3927) on which host and network meet; the same in each network's namespace. */
#define UPLINK_HOST4 0xa9fe4001U /* 169.254.64.1 */
#define UPLINK_NETWORK4 0xa9fe4002U /* 169.254.64.2 */
