/* Ports: the interfaces of VMs, each a tap on the network's bridge. */
#pragma once

#include <jansson.h>

#include "network/addresses.h"
#include "network/configuration.h"
#include "network/links.h"
#include "network/ruleset.h"
#include "network/tap.h"

/*
 * A port lives as long as its tap, and the tap as long as a file descriptor of it is open somewhere: we keep none. What a port
 * is stands in its device's alias, so a process that takes over the namespace finds all of them again.
 */
struct ports;

struct ports_context {
        const struct configuration *configuration;
        struct links *links;
        struct addresses *addresses;
        /* The set of ports, or of their names and addresses, is another. */
        void (*changed)(void *data);
        void *data;
};

/* What a `start` asks for; absent members are NULL or 0. */
struct port_request {
        const char *name, *id, *mac, *address;
        unsigned mtu, queues;
        bool isolated;
        uint64_t lease;
        uint32_t uid;
};

struct port_summary {
        struct mac mac;
        uint32_t address;
        const char *port; /* the device */
        const char *name; /* NULL: none */
        bool isolated;
};

int ports_new(struct ports **ret, const struct ports_context *context);
/* Leaves the taps as they are. */
struct ports *ports_free(struct ports *ports);

/* Finds the ports that are in the namespace already; before the rules are set. 0 or -errno. */
int ports_adopt(struct ports *ports, struct error *error);

/*
 * Makes a port: the fds of its tap, which the caller closes once they are passed on, and the `interface` object of
 * the reply. -EINVAL, -EADDRINUSE and -EEXIST: the request contradicts itself or what is there; -EDQUOT: the user has
 * as many as allowed; others: it could not be made. Nothing is left of a failed one.
 */
int ports_start(struct ports *ports, const struct port_request *request, int ret_fds[static TAP_QUEUES_MAX],
                size_t *ret_n_fds, json_t **ret_interface, struct error *error);
/* Removes a lease's port by its device's name: 0, or -ENOENT when the lease has none of that name. */
int ports_stop(struct ports *ports, uint64_t lease, const char *port, struct error *error);
/* The lease ended: so do its ports. */
void ports_end_lease(struct ports *ports, uint64_t lease);
/* A device may be gone: forgets the ports of those that are. */
void ports_look(struct ports *ports);

/* The address of the VM that has this name now, or 0. */
uint32_t ports_find_address(const struct ports *ports, const char *name);
size_t ports_count(const struct ports *ports);
/* As many as there are, up to n. */
size_t ports_summarize(const struct ports *ports, struct port_summary *ret, size_t n);
/* The `interfaces` array of `list`, with the counters as the VMs see them. */
json_t *ports_describe(struct ports *ports);
