#include "broker/broker.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "broker/client.h"
#include "broker/configuration.h"
#include "broker/definitions.h"
#include "broker/listener.h"
#include "broker/network.h"

static void broker_freep(struct broker **broker) {
        broker_free(*broker);
}

static int on_again(struct source *source, void *data) {
        client_run_again(data);
        return 0;
}

/* --- The end of an idle broker --- */

static bool is_idle(const struct broker *broker) {
        return list_empty(&broker->clients) && list_empty(&broker->networks);
}

void broker_check_idle(struct broker *broker) {
        if (!broker->listener)
                return;
        /* With no delay at all, a broker would end before the one who started it could connect. */
        if (is_idle(broker))
                source_arm(broker->idle_timer, 1000000ULL * (broker->settings.idle_timeout ?: 1));
        else
                source_disarm(broker->idle_timer);
}

static int on_idle(struct source *source, void *data) {
        struct broker *broker = data;
        struct error error = ERROR_INIT;

        if (!is_idle(broker))
                return 0;
        if (listener_close(broker->listener) == 0) {
                log_info("nobody uses the broker: it ends");
                loop_exit(broker->loop, 0);
                return 0;
        }
        /* Somebody came at the last moment. */
        int r = listener_open(broker->listener, &error);
        if (r < 0) {
                log_error("%s", error_text(&error, r));
                return r;
        }
        broker_check_idle(broker);
        return 0;
}

/* --- Networks --- */

struct network *broker_find_network(struct broker *broker, const char *name) {
        list_for_each(struct network, network, &broker->networks, link)
                if (text_equal(network->name, name))
                        return network;
        return NULL;
}

static int add_live_claims(struct broker *broker, struct claims *claims) {
        list_for_each(struct network, network, &broker->networks, link) {
                int r = claims_add(claims, &network->ipv4, CLAIM_LIVE, network->name);
                if (r < 0)
                        return r;
                r = claims_add(claims, &network->ipv6, CLAIM_LIVE, network->name);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int resolve(struct broker *broker, const struct definition *definition, json_t **ret,
                   struct error *error) {
        const struct broker_settings *settings = &broker->settings;
        _cleanup_free_ char *runtime = text_format("%s/networks/%s", settings->runtime, definition->name);
        _cleanup_free_ char *state = text_format("%s/networks/%s", settings->state, definition->name);
        _cleanup_(claims_deinit) struct claims claims = CLAIMS_INIT;
        const struct configuration_context context = {
                .installation = &broker->installation,
                .system = settings->policy.system,
                .runtime_directory = runtime,
                .state_directory = state,
                .idle_timeout = settings->idle_timeout,
        };

        if (!runtime || !state || add_live_claims(broker, &claims) < 0)
                return error_set(error, -ENOMEM, "out of memory");
        return configuration_resolve(definition, &context, &claims, ret, error);
}

int broker_make_network(struct broker *broker, const char *name, const struct peer *peer, struct user *user,
                        struct network **ret, struct error *error) {
        _cleanup_(definition_freep) struct definition *definition = NULL;
        const struct broker_settings *settings = &broker->settings;
        json_t *configuration = NULL;

        int r = definitions_find(settings->definitions, name, &definition, error);
        if (r == -ENOENT)
                return error_set(error, r,
                                 "no network is called \"%.64s\": \"shared\" and \"host\" are built in, "
                                 "others are files NAME.json in %s",
                                 name, settings->definitions);
        if (r < 0) {
                log_warning("%s", error_text(error, r));
                return r;
        }
        r = policy_complete(&settings->policy, definition);
        if (r < 0)
                return r;
        r = policy_check(&settings->policy, definition, peer, error);
        if (r < 0)
                return r;
        r = user_charge(user, CHARGE_NETWORK, error);
        if (r < 0)
                return r;
        r = resolve(broker, definition, &configuration, error);
        if (r < 0) {
                user_discharge(user, CHARGE_NETWORK);
                log_error("network %s: %s", name, error_text(error, r));
                /* What a missing or forbidden file is here is neither the client's mistake nor a policy. */
                return r == -ENOENT || r == -EACCES || r == -EDQUOT ? -EIO : r;
        }
        r = network_new(broker, steal_ptr(definition), configuration, user, ret, error);
        if (r < 0) {
                log_error("network %s: %s", name, error_text(error, r));
                return r == -ENOENT || r == -EACCES || r == -EDQUOT ? -EIO : r;
        }
        return 0;
}

/* --- The object --- */

int broker_new(struct broker **ret, struct loop *loop, const struct broker_settings *settings,
               struct error *error) {
        _cleanup_(broker_freep) struct broker *broker = calloc(1, sizeof(*broker));
        _cleanup_free_ char *path = text_format("%s/installation.json", settings->state);

        if (!broker || !path)
                return -ENOMEM;
        broker->settings = *settings;
        broker->loop = loop;
        /* Ports keep their lease's number when broker and network's process are gone, and no message of theirs is left
         * to tell of it. A broker gives far less than one a microsecond, so the clock is beyond all of them. */
        broker->next_lease = loop_now();
        broker->next_serial = 1;
        list_init(&broker->users.list);
        list_init(&broker->networks);
        list_init(&broker->clients);
        list_init(&broker->again);
        int r = installation_load(path, &broker->installation, error);
        if (r < 0)
                return r;
        r = loop_add_timer(loop, &broker->again_timer, on_again, broker);
        if (r < 0)
                return r;
        r = loop_add_timer(loop, &broker->idle_timer, on_idle, broker);
        if (r < 0)
                return r;
        *ret = steal_ptr(broker);
        return 0;
}

struct broker *broker_free(struct broker *broker) {
        if (!broker)
                return NULL;
        broker->listener = NULL;
        /* Networks first: clients that find no lease any more end none. */
        list_for_each(struct network, network, &broker->networks, link)
                network_free(network);
        list_for_each(struct client, client, &broker->clients, link)
                client_free(client);
        source_free(broker->again_timer);
        source_free(broker->idle_timer);
        installation_deinit(&broker->installation);
        free(broker);
        return NULL;
}
