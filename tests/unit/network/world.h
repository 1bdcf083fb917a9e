/* World: a network namespace of the test's own, and in it as much of a network as its ports need. */
#pragma once

#include "harness.h"

#include "network/addresses.h"
#include "network/configuration.h"
#include "network/links.h"
#include "network/ports.h"

/* Every failing call of these is a failed assertion, but where a result is returned. */

/* Moves the test into a new, empty network namespace, or skips it where that is not allowed. */
void world_enter(void);

/* A `configure` message with these members changed (JSON; null takes a member away), to be released.
 * Directories are below `directory`. */
json_t *world_configure(const char *directory, const char *changes);

struct world {
        char *directory;
        struct configuration configuration;
        struct links *links;
        struct addresses *addresses;
        struct ports *ports;
        unsigned changes; /* how often the ports said that they are others */
};

/* Enters a namespace and makes a network there: bridge, rules, no ports, no programs. */
void world_make(struct world *world, const char *changes);
/* The same in the namespace where the process already is. */
void world_make_here(struct world *world, const char *changes);
void world_end(struct world *world);

/* A port as its VM has it. */
struct nic {
        int fd; /* of its first queue; owned */
        int others[TAP_QUEUES_MAX]; /* of further queues, to n_others; owned */
        size_t n_others;
        char device[LINK_NAME_MAX];
        struct mac mac;
        uint32_t address; /* 0: none */
};

/* 0 or ports_start's error. */
int world_try(struct world *world, struct port_request request, struct nic *ret, struct error *error);
struct nic world_start(struct world *world, struct port_request request);
/* Closes the nic's file descriptors, and lets the ports see that it is gone. */
void world_unplug(struct world *world, struct nic *nic);

/* The text of the rules of a family's table, to be freed. */
char *world_rules(const char *family);
