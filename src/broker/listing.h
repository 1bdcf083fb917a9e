/* Listing: what several networks say about themselves, gathered within a deadline. */
#pragma once

#include <jansson.h>

#include "broker/broker.h"
#include "broker/peer.h"

struct listing;

/* `networks` is an array of NETWORK objects (berth-protocol(7)), borrowed; NULL when memory was short. */
typedef void (*listing_fn)(void *data, json_t *networks);

/*
 * Asks the networks that the peer may use, or the one called `name` alone. fn is called once, perhaps before
 * this returns; *ret is set before, and is the caller's to free, in fn too. 0 or -ENOMEM (fn is not called
 * then).
 */
int listing_start(struct broker *broker, const struct peer *peer, const char *name, listing_fn fn, void *data,
                  struct listing **ret);
/*
 * Leaves out of `networks`, an array of NETWORK objects within `body`, what is longest until the body fits into a line:
 * who makes a network long is out first. Each says what it lacks in `left_out`. Where even that is not enough the body
 * stays too long.
 */
void listing_fit(json_t *networks, const json_t *body);
/* NULL is fine. Returns NULL. */
struct listing *listing_free(struct listing *listing);
