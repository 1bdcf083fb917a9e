#include "broker/network-message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "broker/broker.h"
#include "broker/code.h"
#include "broker/configuration.h"
#include "broker/network-lease.h"
#include "broker/network.h"
#include "broker/worker.h"
#include "wire/fields.h"

static struct lease *find_lease(struct network *network, uint64_t id) {
        list_for_each(struct lease, lease, &network->leases, by_network)
                if (lease->id == id)
                        return lease;
        return NULL;
}

/* An adopted network may be older than the installation file that is there now. */
static int remember_adopted(struct network *network, struct error *error) {
        struct installation *installation = &network->broker->installation;
        struct remembered remembered = {};
        const char *gateway = NULL;
        uint64_t index = 0;
        const struct field fields[] = {
                { "gateway", FIELD_STRING, true, &gateway, 0, 0 },
                { "index", FIELD_U64, true, &index, 0, INSTALLATION_INDEX_MAX },
        };

        int r = fields_parse(network->configuration, fields, ARRAY_SIZE(fields), true, error);
        if (r < 0)
                return r;
        if (installation_find(installation, network->name, &remembered) == 0)
                return 0;
        if (network->definition && !network->definition->gateway &&
            ipv4_parse(gateway, &remembered.gateway) < 0)
                return error_set(error, -EINVAL, "\"gateway\" is no IPv4 address");
        remembered.index = (unsigned)index;
        r = installation_remember(installation, network->name, &remembered);
        if (r < 0)
                return r;
        if (installation_save(installation, error) < 0)
                log_warning("cannot remember the addresses of network %s: %s", network->name,
                            error_text(error, -EIO));
        return 0;
}

static int take_configuration(struct network *network, json_t *configuration, struct error *error) {
        int r = configuration_prefixes(configuration, &network->ipv4, &network->ipv6);
        if (r < 0)
                return error_set(error, r, "\"configuration\" is of no use");
        json_decref(network->configuration); /* of an attempt before */
        network->configuration = json_incref(configuration);
        /* So that it can be sent as it is to a replacement. */
        if (json_object_set_new(configuration, "command", json_string("configure")) < 0)
                return -ENOMEM;
        return remember_adopted(network, error);
}

static int on_ready(struct network *network, struct wire_message *message, struct error *error) {
        size_t n_namespaces = network->broker->settings.policy.system ? 1 : 2;
        json_t *facts = NULL, *configuration = NULL;
        const struct field fields[] = {
                { "network", FIELD_OBJECT, true, &facts, 0, 0 },
                { "configuration", FIELD_OBJECT, true, &configuration, 0, 0 },
        };

        int r = fields_parse(message->body, fields, ARRAY_SIZE(fields), true, error);
        if (r < 0)
                return r;
        if (network->state != NETWORK_RESTARTING && (network->state != NETWORK_STARTING || network->facts))
                return error_set(error, -EPROTO, "\"ready\" a second time");
        if (message->lost && network->adopted) {
                network_adopt_again(network);
                return 0;
        }
        if (message->n_fds != n_namespaces)
                return error_set(error, -EPROTO, "\"ready\" with %zu file descriptors", message->n_fds);

        for (size_t i = 0; i < n_namespaces; i++) {
                fd_close(network->namespaces[i]);
                network->namespaces[i] = wire_message_take_fd(message, i);
        }
        network->n_namespaces = n_namespaces;
        json_decref(network->facts);
        network->facts = json_incref(facts);
        if (!network->adopted) {
                network_set_ready(network);
                return 0;
        }
        return take_configuration(network, configuration, error);
}

static int on_failed(struct network *network, struct wire_message *message, struct error *error) {
        uint64_t code = CODE_CREATE_FAILURE;
        const char *text = "the network's process gave no reason";
        const struct field fields[] = {
                { "error", FIELD_U64, false, &code, CODE_NOT_ALLOWED, CODE_INTERNAL_ERROR },
                { "message", FIELD_STRING, false, &text, 0, 0 },
        };

        int r = fields_parse(message->body, fields, ARRAY_SIZE(fields), true, error);
        if (r < 0)
                return r;
        network_set_failed(network, (int)code, text);
        return 0;
}

/* One handle of a lease of before, from an adopted network. */
static int on_lease(struct network *network, struct wire_message *message, struct error *error) {
        struct broker *broker = network->broker;
        uint64_t id = 0, uid = 0, pid = 0;
        const char *program = "?";
        const struct field fields[] = {
                { "lease", FIELD_U64, true, &id, 0, INT64_MAX - 1 },
                { "uid", FIELD_U64, true, &uid, 0, UINT32_MAX },
                { "pid", FIELD_U64, false, &pid, 0, INT32_MAX },
                { "program", FIELD_STRING, false, &program, 0, 0 },
        };

        int r = fields_parse(message->body, fields, ARRAY_SIZE(fields), true, error);
        if (r < 0)
                return r;
        if (message->lost && network->adopted) {
                network_adopt_again(network);
                return 0;
        }
        if (!network->adopted || !network->facts || message->n_fds != 1)
                return error_set(error, -EPROTO, "\"lease\" out of place");

        struct lease *lease = find_lease(network, id);
        if (!lease) {
                struct user *user = users_get(&broker->users, (uid_t)uid);
                if (!user)
                        return -ENOMEM;
                lease = lease_new(id, network, user, (pid_t)pid, program);
                if (lease && !network->owner && user_charge(user, CHARGE_NETWORK, NULL) == 0)
                        network->owner = user_ref(user);
                user_unref(user);
                if (!lease)
                        return -ENOMEM;
                list_append(&network->leases, &lease->by_network);
        }
        if (broker->next_lease <= id)
                broker->next_lease = id + 1;
        r = lease_add_handle(lease, wire_message_take_fd(message, 0), error);
        lease->n_sent = lease->n_handles;
        return r;
}

static int on_synced(struct network *network, struct wire_message *message, struct error *error) {
        if (!network->adopted || !network->facts)
                return error_set(error, -EPROTO, "\"synced\" out of place");
        network_set_ready(network);
        return 0;
}

static int on_lease_ended(struct network *network, struct wire_message *message, struct error *error) {
        uint64_t id = 0;
        const struct field fields[] = {
                { "lease", FIELD_U64, true, &id, 0, INT64_MAX },
        };

        int r = fields_parse(message->body, fields, ARRAY_SIZE(fields), true, error);
        if (r < 0)
                return r;

        /* A handle that is still open crossed this message on its way: the lease has begun anew. */
        struct lease *lease = find_lease(network, id);
        if (lease)
                lease_remove_forwards(lease);
        if (lease && lease_sweep(lease) == 0)
                lease_free(lease);
        return 0;
}

/* Of a message about something of a lease. 0 or -errno. */
static int take_numbers(const struct wire_message *message, uint64_t *lease, const char *key, uint64_t *number,
                        uint64_t max, struct error *error) {
        const struct field fields[] = {
                { "lease", FIELD_U64, true, lease, 0, INT64_MAX },
                { key, FIELD_U64, true, number, 1, max },
        };

        return fields_parse(message->body, fields, ARRAY_SIZE(fields), true, error);
}

/* A handle did not arrive there. Its client would ask and never hear: it sees the handle's end instead. */
static int on_handle_lost(struct network *network, struct wire_message *message, struct error *error) {
        uint64_t id = 0, serial = 0;

        int r = take_numbers(message, &id, "leases_received", &serial, INT64_MAX, error);
        if (r < 0)
                return r;

        log_warning("network %s: its process has no file descriptor left for a handle", network->name);
        struct lease *lease = find_lease(network, id);
        if (lease && lease_drop_sent(lease, serial) == 0)
                network_end_lease(lease);
        return 0;
}

/* A forward to keep for the process's replacement. Its lease may have been ended by a message on its way there. */
static int on_forward(struct network *network, struct wire_message *message, struct error *error) {
        uint64_t id = 0, number = 0;

        int r = take_numbers(message, &id, "forward", &number, INT32_MAX, error);
        if (r < 0)
                return r;
        if (!network->facts)
                return error_set(error, -EPROTO, "\"forward\" out of place");

        struct lease *lease = find_lease(network, id);
        if (!lease)
                return 0;
        /* A broker that is out of file descriptors is no reason to end a network that runs. */
        if (message->n_fds != 1) {
                log_warning("network %s: the socket of a forward did not arrive: it ends with the network's process",
                            network->name);
                return 0;
        }
        r = lease_add_forward(lease, (unsigned)number, message->body, wire_message_take_fd(message, 0));
        if (r < 0)
                log_warning("network %s: a forward cannot be kept for the case that its process ends: out of memory",
                            network->name);
        return 0;
}

static int on_forward_ended(struct network *network, struct wire_message *message, struct error *error) {
        uint64_t id = 0, number = 0;

        int r = take_numbers(message, &id, "forward", &number, INT32_MAX, error);
        if (r < 0)
                return r;

        struct lease *lease = find_lease(network, id);
        if (lease)
                lease_remove_forward(lease, (unsigned)number);
        return 0;
}

static int on_idle(struct network *network, struct wire_message *message, struct error *error) {
        uint64_t received = 0;
        const struct field fields[] = {
                { "leases_received", FIELD_U64, true, &received, 0, UINT64_MAX },
        };

        int r = fields_parse(message->body, fields, ARRAY_SIZE(fields), true, error);
        if (r < 0)
                return r;
        if (network->state == NETWORK_RUNNING && network->leases_sent <= received &&
            list_empty(&network->leases)) {
                log_info("network %s is removed: nobody uses it", network->name);
                network_retire(network);
        }
        return 0;
}

static int on_listing(struct network *network, struct wire_message *message, struct error *error) {
        uint64_t serial = 0;
        const struct field fields[] = {
                { "serial", FIELD_U64, true, &serial, 0, INT64_MAX },
        };

        int r = fields_parse(message->body, fields, ARRAY_SIZE(fields), true, error);
        if (r < 0)
                return r;
        list_for_each(struct network_query, query, &network->queries, link)
                if (query->serial == serial) {
                        list_unlink(&query->link);
                        query->fn(query, message->body, NULL);
                        break;
                }
        return 0;
}

void network_message(void *data, struct wire_message *message) {
        static const struct {
                const char *command;
                int (*fn)(struct network *network, struct wire_message *message, struct error *error);
        } commands[] = {
                { "ready", on_ready },     { "failed", on_failed },           { "lease", on_lease },
                { "synced", on_synced },   { "lease_ended", on_lease_ended }, { "idle", on_idle },
                { "listing", on_listing }, { "forward", on_forward },         { "forward_ended", on_forward_ended },
                { "handle_lost", on_handle_lost },
        };
        struct network *network = data;
        const char *command = json_string_value(json_object_get(message->body, "command"));
        struct error error = ERROR_INIT;
        int r = error_set(&error, -EPROTO, "unknown message \"%.32s\"", command ? command : "");

        if (network->adopting_again)
                return;
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
                if (text_equal(command, commands[i].command)) {
                        r = commands[i].fn(network, message, &error);
                        break;
                }
        if (r < 0)
                worker_kill(network->worker, error_text(&error, r));
}
