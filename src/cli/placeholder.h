/* Placeholders: {net0.fd} and the like in a command's arguments, and what stands for them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum placeholder {
        PLACEHOLDER_FD, /* of the first queue */
        PLACEHOLDER_FDS, /* of all queues, "5:6" as QEMU likes it */
        PLACEHOLDER_FD_LIST, /* "5,6" */
        PLACEHOLDER_MAC,
        PLACEHOLDER_MTU,
        PLACEHOLDER_ADDRESS,
        PLACEHOLDER_IPV6_ADDRESS,
        PLACEHOLDER_NAME,
        PLACEHOLDER_PORT,
        PLACEHOLDER_NETWORK,
        PLACEHOLDER_GATEWAY,
        PLACEHOLDER_QUEUES,
        PLACEHOLDER_VNET_HEADER_SIZE,
        PLACEHOLDER_VHOST_FD, /* /dev/vhost-net, opened when it is asked for */
        PLACEHOLDER_VHOST_FDS, /* once per queue */
        PLACEHOLDER_MAX,
};

/* "fd"; and whether it is also handed over as BERTH_NET0_FD in the environment. */
const char *placeholder_name(enum placeholder placeholder);
bool placeholder_in_environment(enum placeholder placeholder);

/* What stands for the placeholders of one network, in the order of --network. Owned strings; NULL stands for
 * "". */
struct placeholder_values {
        char *values[PLACEHOLDER_MAX];
};

void placeholder_values_deinit(struct placeholder_values *values);

/*
 * Looks at one argument: 0, or -EINVAL with a text when it names a placeholder or a network that does not
 * exist. For each placeholder used, bit 1 << enum placeholder is set in uses[network], which is as long as
 * there are networks. Braces that are not of the form {netN.word} are no placeholders.
 */
int placeholder_scan(const char *argument, size_t n_networks, unsigned *uses, struct error *error);

/* The argument with its placeholders filled in, which placeholder_scan found right: a new string, or NULL. */
char *placeholder_fill(const char *argument, const struct placeholder_values *networks, size_t n_networks);
