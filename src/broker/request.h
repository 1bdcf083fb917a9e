/* Request: what a client may ask of the broker. */
#pragma once

#include "broker/client.h"
#include "wire/wire.h"

/* A request that waits for its answer. */
struct request;

/* Answers the message, or leaves client->request behind, to be answered later. */
void request_handle(struct client *client, struct wire_message *message);
/* Stops waiting. NULL is fine. Returns NULL. */
struct request *request_free(struct request *request);
