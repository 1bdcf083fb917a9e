#include "broker/listing.h"

#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/text.h"
#include "broker/network.h"

#define DEADLINE 1000000 /* microseconds for a network to answer */

struct part {
        struct network_query query;
        struct listing *listing;
        json_t *network; /* borrowed from listing->networks */
};

struct listing {
        listing_fn fn;
        void *data;
        json_t *networks;
        struct source *timer;
        struct part *parts;
        size_t n_parts, n_waiting;
};

static void finish_if_complete(struct listing *listing) {
        if (listing->n_waiting == 0)
                listing->fn(listing->data, listing->networks);
}

static void fill_part(struct part *part, json_t *answer, const char *why) {
        static const char *const members[] = { "interfaces", "forwards",   "uplink", "services",
                                               "idle_ms",    "removal_ms", "message" };

        part->listing->n_waiting--;
        if (!answer)
                json_object_set_new(part->network, "message", json_string(why));
        for (size_t i = 0; answer && i < ARRAY_SIZE(members); i++) {
                json_t *member = json_object_get(answer, members[i]);
                if (member)
                        json_object_set(part->network, members[i], member);
        }
}

static void on_answer(struct network_query *query, json_t *answer, const char *why) {
        struct part *part = container_of(query, struct part, query);

        fill_part(part, answer, why);
        finish_if_complete(part->listing);
}

static int on_deadline(struct source *source, void *data) {
        struct listing *listing = data;

        for (size_t i = 0; i < listing->n_parts; i++)
                if (!list_empty(&listing->parts[i].query.link)) {
                        list_unlink(&listing->parts[i].query.link);
                        fill_part(&listing->parts[i], NULL,
                                  "the network's process did not answer within a second");
                }
        finish_if_complete(listing);
        return 0;
}

static void ask(struct listing *listing, struct network *network) {
        struct part *part = &listing->parts[listing->n_parts];
        json_t *object = network_describe(network);

        if (json_array_append_new(listing->networks, object) < 0)
                return;
        listing->n_parts++;
        part->listing = listing;
        part->network = object;
        part->query.fn = on_answer;
        list_init(&part->query.link);
        if (network_ask(network, &part->query))
                listing->n_waiting++;
        else
                json_object_set_new(object, "message", json_string("the network's process is not ready"));
}

int listing_start(struct broker *broker, const struct peer *peer, const char *name, listing_fn fn, void *data,
                  struct listing **ret) {
        struct listing *listing = calloc(1, sizeof(*listing));
        size_t n = 0;

        if (!listing)
                return -ENOMEM;
        list_for_each(struct network, network, &broker->networks, link)
                n++;
        listing->fn = fn;
        listing->data = data;
        listing->networks = json_array();
        listing->parts = calloc(n + 1, sizeof(*listing->parts));
        if (!listing->networks || !listing->parts ||
            loop_add_timer(broker->loop, &listing->timer, on_deadline, listing) < 0) {
                listing_free(listing);
                return -ENOMEM;
        }
        list_for_each(struct network, live, &broker->networks, link)
                if ((!name || text_equal(name, live->name)) &&
                    policy_check(&broker->settings.policy, live->definition, peer, NULL) == 0)
                        ask(listing, live);
        source_arm(listing->timer, DEADLINE);
        *ret = listing;
        finish_if_complete(listing);
        return 0;
}

struct listing *listing_free(struct listing *listing) {
        if (!listing)
                return NULL;
        for (size_t i = 0; i < listing->n_parts; i++)
                list_unlink(&listing->parts[i].query.link);
        source_free(listing->timer);
        json_decref(listing->networks);
        free(listing->parts);
        free(listing);
        return NULL;
}
