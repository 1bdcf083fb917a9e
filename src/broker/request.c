#include "broker/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "broker/broker.h"
#include "broker/definitions.h"
#include "broker/listing.h"
#include "broker/network-lease.h"
#include "broker/network.h"
#include "config.h"
#include "wire/fields.h"

struct request {
        struct client *client;
        char *name; /* network_name; NULL: all */
        struct network_waiter waiter;
        struct listing *listing;
};

/* Makes the client wait, for a network or a listing. NULL when memory is short: it is answered then. */
static struct request *wait_with(struct client *client, const char *name) {
        struct request *request = calloc(1, sizeof(*request));
        char *copy = name ? strdup(name) : NULL;

        if (!request || (name && !copy)) {
                free(request);
                free(copy);
                client_reply(client, NULL, NULL, 0);
                return NULL;
        }
        request->client = client;
        request->name = copy;
        list_init(&request->waiter.link);
        client->request = request;
        return request;
}

struct request *request_free(struct request *request) {
        if (!request)
                return NULL;
        list_unlink(&request->waiter.link);
        listing_free(request->listing);
        free(request->name);
        free(request);
        return NULL;
}

static void wait_for_network(struct client *client, struct network *network,
                             void (*fn)(struct network_waiter *, enum network_event, int, const char *)) {
        struct request *request = wait_with(client, network->name);

        if (!request)
                return;
        request->waiter.fn = fn;
        network_wait(network, &request->waiter);
}

/* The end of a wait after which the request is looked at anew: takes its name and forgets it. */
static char *take_name(struct request *request) {
        char *name = steal_ptr(request->name);
        struct client *client = request->client;

        client->request = request_free(request);
        return name;
}

/* A live network that this client may use; NULL when there is none, and the client is answered. */
static struct network *find_allowed(struct client *client, const char *name) {
        struct broker *broker = client->broker;
        struct network *network = broker_find_network(broker, name);
        struct error error = ERROR_INIT;

        if (!network) {
                client_reply_error(client, CODE_NOT_FOUND, "network \"%.64s\" is not live", name);
                return NULL;
        }
        if (policy_check(&broker->settings.policy, network->definition, &client->peer, &error) < 0) {
                client_reply_error(client, CODE_NOT_ALLOWED, "%s", error.text);
                return NULL;
        }
        return network;
}

/* --- acquire --- */

static void acquire(struct client *client, const char *name);

static void on_network_for_acquire(struct network_waiter *waiter, enum network_event event, int code,
                                   const char *message) {
        struct request *request = container_of(waiter, struct request, waiter);
        struct client *client = request->client;

        if (event == NETWORK_FAILED) {
                client_reply_error(client, (enum code)code, "%s", message);
                return;
        }
        _cleanup_free_ char *name = take_name(request);
        acquire(client, name);
        client_wake(client);
}

static struct lease *find_or_make_lease(struct client *client, struct network *network, struct error *error) {
        struct lease *lease = client_find_lease(client, network);

        if (lease)
                return lease;
        lease = network_new_lease(network, client->user, client->peer.pid, client->peer.program);
        if (!lease) {
                error_set(error, -ENOMEM, "out of memory");
                return NULL;
        }
        /* Nobody was told of it yet, so there is nobody to be told of its end. */
        if (client_take_lease(client, lease, error) < 0)
                return lease_free(lease);
        return lease;
}

static void lend(struct client *client, struct network *network) {
        json_auto_t *body = NULL;
        _cleanup_fd_ int fd = -1;
        struct error error = ERROR_INIT;
        int r = 0;

        struct lease *lease = find_or_make_lease(client, network, &error);
        if (lease) {
                r = network_add_handle(network, lease, &fd, &error);
                if (r < 0 && lease->n_handles == 0)
                        lease_free(lease);
        }
        if (fd < 0) {
                client_reply_error(client, error.code == -EDQUOT ? CODE_NOT_ALLOWED : CODE_INTERNAL_ERROR,
                                   "%s", error_text(&error, r));
                return;
        }

        json_t *facts = json_copy(network->facts);
        if (facts && json_object_set_new(facts, "lease", json_integer((json_int_t)lease->id)) == 0)
                body = json_pack("{so}", "network", facts);
        else
                json_decref(facts);
        client_reply(client, body, &fd, 1);
}

static void acquire(struct client *client, const char *name) {
        struct broker *broker = client->broker;
        struct network *network = broker_find_network(broker, name);
        struct error error = ERROR_INIT;

        if (network) {
                network = find_allowed(client, name);
                if (!network)
                        return;
        } else {
                int r = broker_make_network(broker, name, &client->peer, client->user, &network, &error);
                if (r < 0) {
                        enum code code = r == -ENOENT                   ? CODE_NOT_FOUND
                                         : r == -EACCES || r == -EDQUOT ? CODE_NOT_ALLOWED
                                                                        : CODE_CREATE_FAILURE;
                        client_reply_error(client, code, "%s", error_text(&error, r));
                        return;
                }
        }
        if (network_can_lease(network))
                lend(client, network);
        else
                wait_for_network(client, network, on_network_for_acquire);
}

/* --- release --- */

static void release(struct client *client, const char *name) {
        struct network *network = broker_find_network(client->broker, name);
        struct lease *lease = network ? client_find_lease(client, network) : NULL;

        if (!lease) {
                client_reply_error(client, CODE_NOT_FOUND, "this connection does not hold network \"%.64s\"",
                                   name);
                return;
        }
        network_end_lease(lease);

        json_auto_t *body = json_pack("{ss}", "released", name);
        client_reply(client, body, NULL, 0);
}

/* --- remove --- */

static void remove_network(struct client *client, const char *name);

static void reply_removed(struct client *client, const char *name) {
        json_auto_t *body = json_pack("{ss}", "removed", name);

        client_reply(client, body, NULL, 0);
}

static void on_network_for_remove(struct network_waiter *waiter, enum network_event event, int code,
                                  const char *message) {
        struct request *request = container_of(waiter, struct request, waiter);
        struct client *client = request->client;
        _cleanup_free_ char *name = take_name(request);

        if (event == NETWORK_READY)
                remove_network(client, name);
        else
                reply_removed(client, name);
        client_wake(client);
}

static void remove_network(struct client *client, const char *name) {
        struct network *network = find_allowed(client, name);

        if (!network)
                return;
        if (!list_empty(&network->leases)) {
                client_reply_error(client, CODE_IN_USE,
                                   "network \"%s\" has leases: the programs that use it must end "
                                   "or release it first",
                                   name);
                return;
        }
        if (network->state == NETWORK_RUNNING)
                network_retire(network);
        wait_for_network(client, network, on_network_for_remove);
}

/* --- enter --- */

static void enter(struct client *client, const char *name);

static void on_network_for_enter(struct network_waiter *waiter, enum network_event event, int code,
                                 const char *message) {
        struct request *request = container_of(waiter, struct request, waiter);
        struct client *client = request->client;
        _cleanup_free_ char *name = take_name(request);

        enter(client, name);
        client_wake(client);
}

/* The network may have gone while it was asked about. */
static void on_listing_for_enter(void *data, json_t *networks) {
        struct client *client = data;
        _cleanup_free_ char *name = strdup(client->request->name);
        struct network *network = name ? broker_find_network(client->broker, name) : NULL;
        json_t *object = json_array_get(networks, 0);

        if (!network || network->n_namespaces == 0 || !object) {
                client_reply_error(client, CODE_NOT_FOUND, "network \"%.64s\" is not live", name ? name : "");
                return;
        }
        json_object_del(object, "interfaces");

        json_auto_t *body = json_pack("{sO}", "network", object);
        if (body)
                listing_fit(networks, body);
        client_reply(client, body, network->namespaces, network->n_namespaces);
}

static void enter(struct client *client, const char *name) {
        struct network *network = find_allowed(client, name);

        if (!network)
                return;
        if (!network_can_lease(network)) {
                wait_for_network(client, network, on_network_for_enter);
                return;
        }
        struct request *request = wait_with(client, name);
        if (request && listing_start(client->broker, &client->peer, name, on_listing_for_enter, client,
                                     &request->listing) < 0)
                client_reply(client, NULL, NULL, 0);
}

/* --- list --- */

static void on_listing_for_list(void *data, json_t *networks) {
        struct client *client = data;
        struct broker *broker = client->broker;
        const char *name = client->request->name;

        json_auto_t *body = json_pack(
                "{s{ss si ss si} sO so}", "broker", "version", BERTH_VERSION, "pid", (int)getpid(), "mode",
                broker->settings.policy.system ? "system" : "user", "clients", (int)broker->n_clients,
                "networks", networks, "definitions", definitions_list(broker->settings.definitions, name));
        if (body && name && json_array_size(networks) == 0 &&
            json_array_size(json_object_get(body, "definitions")) == 0) {
                client_reply_error(client, CODE_NOT_FOUND, "there is no network \"%.64s\"", name);
                return;
        }
        if (body)
                listing_fit(networks, body);
        client_reply(client, body, NULL, 0);
}

static void list_networks(struct client *client, const char *name) {
        struct broker *broker = client->broker;

        if (name && broker_find_network(broker, name) && !find_allowed(client, name))
                return;
        struct request *request = wait_with(client, name);
        if (request &&
            listing_start(broker, &client->peer, name, on_listing_for_list, client, &request->listing) < 0)
                client_reply(client, NULL, NULL, 0);
}

/* --- The table --- */

void request_handle(struct client *client, struct wire_message *message) {
        static const struct {
                const char *command;
                bool needs_name;
                void (*fn)(struct client *client, const char *name);
        } commands[] = {
                { "acquire", true, acquire },     { "release", true, release },
                { "list", false, list_networks }, { "remove", true, remove_network },
                { "enter", true, enter },
        };
        const char *command = json_string_value(json_object_get(message->body, "command")), *name = NULL;
        struct error error = ERROR_INIT;
        size_t i = 0;

        while (i < ARRAY_SIZE(commands) && !text_equal(command, commands[i].command))
                i++;
        if (!command) {
                client_reply_error(client, CODE_INVALID_REQUEST, "a request must have \"command\", a string");
                return;
        }
        if (i == ARRAY_SIZE(commands)) {
                client_reply_error(client, CODE_INVALID_REQUEST, "unknown command \"%.64s\"", command);
                return;
        }

        const struct field fields[] = {
                { "command", FIELD_STRING, true, &command, 0, 0 },
                { "network_name", FIELD_STRING, commands[i].needs_name, &name, 0, 0 },
        };
        int r = fields_parse(message->body, fields, ARRAY_SIZE(fields), false, &error);
        if (r < 0) {
                client_reply_error(client, CODE_INVALID_REQUEST, "%s", error_text(&error, r));
                return;
        }
        if (policy_check_peer(&client->broker->settings.policy, &client->peer, &error) < 0) {
                client_reply_error(client, CODE_NOT_ALLOWED, "%s", error.text);
                return;
        }
        commands[i].fn(client, name);
}
