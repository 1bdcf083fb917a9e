/* Adoption: taking over the networks that an earlier broker left running. */
#pragma once

#include "broker/broker.h"

struct adoption;

typedef void (*adoption_fn)(void *data);

/*
 * Connects to the control socket of every directory below RUNTIME/networks; where nobody listens, the
 * directory is removed. fn is called once, perhaps before this returns: when each network has told what it
 * is, or after a time that a healthy one never needs. One that is late is adopted when it answers, or killed
 * by its own deadline. 0 or -ENOMEM.
 */
int adoption_start(struct broker *broker, adoption_fn fn, void *data, struct adoption **ret);
/* NULL is fine. Returns NULL. */
struct adoption *adoption_free(struct adoption *adoption);
