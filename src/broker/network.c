#include "broker/network.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "broker/broker.h"
#include "broker/code.h"
#include "broker/configuration.h"
#include "broker/network-lease.h"
#include "broker/network-message.h"
#include "broker/worker.h"

#define START_DEADLINE 10000000 /* microseconds */
#define STOP_DEADLINE 10000000
#define ADOPT_PAUSE 100000
#define RESTART_PAUSE 100000 /* after the second death in a row; doubled for each further one */

static void network_freep(struct network **network) {
        network_free(*network);
}

static char *network_directory(const struct network *network, const char *base) {
        return text_format("%s/networks/%s", base, network->name);
}

static int make_directories(struct network *network, struct error *error) {
        const struct broker_settings *settings = &network->broker->settings;
        _cleanup_free_ char *runtime = network_directory(network, settings->runtime);
        _cleanup_free_ char *state = network_directory(network, settings->state);

        if (!runtime || !state)
                return error_set(error, -ENOMEM, "out of memory");
        /* In system mode dnsmasq reads and writes there as a user of its own. */
        int r = file_make_directory(runtime, settings->policy.system ? 0755 : 0700, error);
        return r < 0 ? r : file_make_directory(state, settings->policy.system ? 0755 : 0700, error);
}

static void remove_directory(const struct network *network) {
        _cleanup_free_ char *directory = network_directory(network, network->broker->settings.runtime);
        struct error error = ERROR_INIT;

        if (directory && file_remove_tree(directory, &error) < 0)
                log_warning("%s", error_text(&error, 0));
}

/* --- Telling those who wait --- */

static void tell(struct network *network, enum network_event event, int code, const char *message) {
        struct list waiters = LIST_INIT(waiters);

        /* Who is told may wait anew, which is for the next event. */
        while (!list_empty(&network->waiters)) {
                struct list *first = network->waiters.next;
                list_unlink(first);
                list_append(&waiters, first);
        }
        while (!list_empty(&waiters)) {
                struct network_waiter *waiter = container_of(waiters.next, struct network_waiter, link);
                list_unlink(&waiter->link);
                waiter->fn(waiter, event, code, message);
        }
}

/* For the end of the broker, where nobody is left to be told. */
static void tell_nobody(struct network *network) {
        list_for_each(struct network_waiter, waiter, &network->waiters, link)
                list_unlink(&waiter->link);
        list_for_each(struct network_query, query, &network->queries, link)
                list_unlink(&query->link);
}

static void fail_queries(struct network *network, const char *why) {
        while (!list_empty(&network->queries)) {
                struct network_query *query = container_of(network->queries.next, struct network_query, link);
                list_unlink(&query->link);
                query->fn(query, NULL, why);
        }
}

/* Out of the list first, so that a waiter can make another of the same name at once. */
static void gone(struct network *network, enum network_event event, const char *message) {
        struct broker *broker = network->broker;

        list_unlink(&network->link);
        remove_directory(network);
        fail_queries(network, "the network has just been removed");
        tell(network, event, CODE_CREATE_FAILURE, message);
        network_free(network);
        broker_check_idle(broker);
}

/* --- The process --- */

/* How many of the deaths, this one included, were within the window. */
static unsigned count_death(struct network *network) {
        uint64_t now = loop_now();
        unsigned n = 0;

        memmove(&network->deaths[1], &network->deaths[0],
                sizeof(network->deaths) - sizeof(network->deaths[0]));
        network->deaths[0] = now;
        while (n < NETWORK_DEATHS_MAX && network->deaths[n] &&
               now - network->deaths[n] < NETWORK_DEATHS_WINDOW)
                n++;
        return n;
}

static void restart_later(struct network *network, const char *how) {
        unsigned deaths = count_death(network);

        if (network->state == NETWORK_RESTARTING)
                network->attempts++;
        if (deaths >= NETWORK_DEATHS_MAX || network->attempts >= NETWORK_DEATHS_MAX) {
                log_error("network %s: its process %s, and has ended too often; the network is given up",
                          network->name, how);
                gone(network, NETWORK_GONE, NULL);
                return;
        }
        log_warning("network %s: its process %s; starting another", network->name, how);
        network->state = NETWORK_RESTARTING;
        source_arm(network->timer, deaths < 2 ? 0 : (uint64_t)RESTART_PAUSE << (deaths - 2));
}

static void on_worker_ended(void *data, const char *how) {
        struct network *network = data;

        network->worker = worker_free(network->worker);
        if (network->state == NETWORK_STARTING) {
                _cleanup_free_ char *message = text_format(
                        "berth-network %s before network \"%s\" was usable; see the broker's log", how,
                        network->name);

                log_error("network %s: its process %s before it was usable", network->name, how);
                gone(network, NETWORK_FAILED, message ? message : "out of memory");
        } else if (network->state == NETWORK_STOPPING) {
                log_info("network %s is gone", network->name);
                gone(network, NETWORK_GONE, NULL);
        } else {
                fail_queries(network, "the network's process has ended and is being replaced");
                restart_later(network, how);
        }
}

static void on_worker_drained(void *data) {
        struct network *network = data;

        if (network->state != NETWORK_RUNNING)
                return;
        network_send_leases(network);
        if (network_can_lease(network))
                tell(network, NETWORK_READY, 0, NULL);
}

static const struct worker_events worker_events = {
        .message = network_message,
        .ended = on_worker_ended,
        .drained = on_worker_drained,
};

static int start_worker(struct network *network, struct error *error) {
        struct broker *broker = network->broker;

        int r = make_directories(network, error);
        if (r < 0)
                return r;
        r = worker_spawn(&network->worker, broker->loop, broker->settings.network_program, network->name,
                         &worker_events, network, error);
        if (r < 0)
                return r;
        network->leases_sent = 0;
        source_arm(network->timer, START_DEADLINE);
        worker_send(network->worker, network->configuration, network->namespaces, network->n_namespaces);
        return 0;
}

static int connect_worker(struct network *network, struct error *error) {
        struct broker *broker = network->broker;
        _cleanup_free_ char *directory = network_directory(network, broker->settings.runtime);
        _cleanup_free_ char *control = directory ? text_format("%s/control.sock", directory) : NULL;

        if (!control)
                return error_set(error, -ENOMEM, "out of memory");
        int r = worker_connect(&network->worker, broker->loop, control, &worker_events, network, error);
        if (r >= 0)
                source_arm(network->timer, START_DEADLINE);
        return r;
}

/* As if this were the next broker: the process takes a new connection for that, and tells all from the start. */
static void adopt_anew(struct network *network) {
        struct error error = ERROR_INIT;

        list_for_each(struct lease, lease, &network->leases, by_network)
                lease_free(lease);
        network->worker = worker_free(network->worker);
        json_decref(network->facts);
        network->facts = NULL;
        int r = connect_worker(network, &error);
        network->adopting_again = r < 0;
        if (r == -ECONNREFUSED || r == -ENOENT || r == -ESRCH)
                gone(network, NETWORK_FAILED, "the network's process has just ended");
        else if (r < 0)
                source_arm(network->timer, ADOPT_PAUSE);
}

static int on_timer(struct source *source, void *data) {
        struct network *network = data;
        struct error error = ERROR_INIT;

        if (network->adopting_again) {
                adopt_anew(network);
                return 0;
        }
        if (network->worker) {
                worker_kill(network->worker, network->state == NETWORK_STOPPING
                                                     ? "it did not clean up in time"
                                                     : "it was not ready in time");
                return 0;
        }
        if (start_worker(network, &error) < 0)
                restart_later(network, error_text(&error, 0));
        return 0;
}

/* --- What the process says, as network-message.c has read it --- */

void network_set_ready(struct network *network) {
        bool restarted = network->state == NETWORK_RESTARTING;

        source_disarm(network->timer);
        network->attempts = 0;
        network->adopted = false;
        network->state = NETWORK_RUNNING;
        log_info("network %s is running (pid %d)%s", network->name, worker_pid(network->worker),
                 restarted ? " again" : "");
        if (restarted)
                network_resend_leases(network);
        if (network_can_lease(network))
                tell(network, NETWORK_READY, 0, NULL);
}

void network_adopt_again(struct network *network) {
        log_warning("network %s: no file descriptor is left to take it over with: trying again", network->name);
        network->adopting_again = true;
        source_arm(network->timer, ADOPT_PAUSE);
}

void network_set_failed(struct network *network, int code, const char *message) {
        log_error("network %s: %s", network->name, message);
        if (network->state != NETWORK_STARTING)
                return; /* its process is about to end, and another will be tried */
        network->state = NETWORK_STOPPING;
        source_arm(network->timer, STOP_DEADLINE);
        tell(network, NETWORK_FAILED, code, message);
}

/* --- Who uses it --- */

bool network_can_lease(const struct network *network) {
        /* A client that acquires faster than the network's process can follow waits for it. */
        return network->state == NETWORK_RESTARTING ||
               (network->state == NETWORK_RUNNING && !worker_is_congested(network->worker));
}

void network_wait(struct network *network, struct network_waiter *waiter) {
        list_append(&network->waiters, &waiter->link);
}

void network_retire(struct network *network) {
        json_auto_t *body = json_pack("{ss}", "command", "retire");

        network->state = NETWORK_STOPPING;
        source_arm(network->timer, STOP_DEADLINE);
        worker_send(network->worker, body, NULL, 0);
}

/* --- The object --- */

static struct network *allocate(struct broker *broker, const char *name, struct definition *definition) {
        _cleanup_(network_freep) struct network *network = calloc(1, sizeof(*network));

        if (!network) {
                definition_free(definition);
                return NULL;
        }
        network->broker = broker;
        network->definition = definition;
        network->namespaces[0] = network->namespaces[1] = -1;
        list_init(&network->link);
        list_init(&network->leases);
        list_init(&network->waiters);
        list_init(&network->queries);
        network->name = strdup(name);
        if (!network->name || loop_add_timer(broker->loop, &network->timer, on_timer, network) < 0)
                return NULL;
        return steal_ptr(network);
}

int network_new(struct broker *broker, struct definition *consume_definition, json_t *consume_configuration,
                struct user *user, struct network **ret, struct error *error) {
        json_auto_t *configuration = consume_configuration;
        _cleanup_(network_freep) struct network *network = allocate(broker, consume_definition->name,
                                                                    consume_definition);
        int r;

        if (!network) {
                user_discharge(user, CHARGE_NETWORK);
                return error_set(error, -ENOMEM, "out of memory");
        }
        network->owner = user_ref(user);
        network->configuration = steal_ptr(configuration);
        r = configuration_prefixes(network->configuration, &network->ipv4, &network->ipv6);
        if (r < 0)
                return error_errno(error, r, "the network's configuration is of no use");
        r = start_worker(network, error);
        if (r < 0) {
                remove_directory(network);
                return r;
        }
        list_append(&broker->networks, &network->link);
        broker_check_idle(broker);
        *ret = steal_ptr(network);
        return 0;
}

int network_adopt(struct broker *broker, const char *name, struct definition *consume_definition,
                  struct network **ret, struct error *error) {
        _cleanup_(network_freep) struct network *network = allocate(broker, name, consume_definition);

        if (!network)
                return -ENOMEM;
        int r = connect_worker(network, error);
        if (r < 0)
                return r;
        network->adopted = true;
        list_append(&broker->networks, &network->link);
        *ret = steal_ptr(network);
        return 0;
}

struct network *network_free(struct network *network) {
        if (!network)
                return NULL;
        list_for_each(struct lease, lease, &network->leases, by_network)
                lease_free(lease);
        tell_nobody(network);
        list_unlink(&network->link);
        worker_free(network->worker);
        source_free(network->timer);
        for (size_t i = 0; i < network->n_namespaces; i++)
                fd_close(network->namespaces[i]);
        if (network->owner)
                user_discharge(network->owner, CHARGE_NETWORK);
        user_unref(network->owner);
        json_decref(network->configuration);
        json_decref(network->facts);
        definition_free(network->definition);
        free(network->ended);
        free(network->name);
        free(network);
        return NULL;
}

/* --- Listing --- */

static const char *state_name(enum network_state state) {
        static const char *const names[] = {
                [NETWORK_STARTING] = "starting",
                [NETWORK_RUNNING] = "running",
                [NETWORK_RESTARTING] = "restarting",
                [NETWORK_STOPPING] = "stopping",
        };

        return names[state];
}

json_t *network_describe(const struct network *network) {
        json_t *object = network->facts ? json_copy(network->facts) : json_object();
        json_t *clients = json_array();

        list_for_each(struct lease, lease, &network->leases, by_network) {
                lease_refresh_program(lease);
                json_array_append_new(clients, json_pack("{sI sI sI ss sb}", "lease", (json_int_t)lease->id,
                                                         "uid", (json_int_t)lease->user->uid, "pid",
                                                         (json_int_t)lease->pid, "program", lease->program,
                                                         "connected", lease->client != NULL));
        }
        if (!network->facts && network->definition)
                json_object_set_new(object, "mode",
                                    json_string(definition_mode_name(network->definition->mode)));
        json_object_set_new(object, "name", json_string(network->name));
        json_object_set_new(object, "state", json_string(state_name(network->state)));
        if (network->worker)
                json_object_set_new(object, "pid", json_integer(worker_pid(network->worker)));
        if (json_object_set_new(object, "clients", clients) < 0) {
                json_decref(object);
                return NULL;
        }
        return object;
}

bool network_ask(struct network *network, struct network_query *query) {
        if (network->state != NETWORK_RUNNING)
                return false;

        query->serial = network->broker->next_serial++;
        list_append(&network->queries, &query->link);

        json_auto_t *body = json_pack("{ss sI}", "command", "list", "serial", (json_int_t)query->serial);
        worker_send(network->worker, body, NULL, 0);
        return true;
}
