/* Facts: what a reply says of a network or an interface, as the public structs. */
#pragma once

#include <berth/berth.h>
#include <jansson.h>

#include "base/error.h"

/* The strings in *ret are borrowed from object. 0 or -EPROTO, with a text. */
int facts_parse_network(json_t *object, struct berth_network_facts *ret, struct error *error);
int facts_parse_interface(json_t *object, struct berth_interface_facts *ret, struct error *error);
