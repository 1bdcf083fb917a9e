#include "broker/listing.h"

#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/text.h"
#include "broker/network.h"
#include "wire/wire.h"

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
                                               "idle_ms",    "removal_ms", "message", "left_out" };

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

/* --- What fits into a line --- */

#define NOTE_SIZE 256 /* bytes, more than what is said of all that is left out of a network */

/* What can be left out of a network. */
static const char *const sheddable[] = { "interfaces", "forwards", "clients" };

static size_t size_of(const json_t *value) {
        return json_dumpb(value, NULL, 0, JSON_COMPACT);
}

static void leave_out(json_t *network, const char *key) {
        json_t *left_out = json_object_get(network, "left_out");

        if (!left_out) {
                left_out = json_array();
                json_object_set_new(network, "left_out", left_out);
        }
        json_array_append_new(left_out, json_string(key));
        json_object_del(network, key);
        if (!json_object_get(network, "message"))
                json_object_set_new(network, "message",
                                    json_string("the whole answer is too long for one line"));
}

void listing_fit(json_t *networks, const json_t *body) {
        size_t n = json_array_size(networks), size = size_of(body);
        _cleanup_free_ size_t *sizes = NULL;

        if (size < WIRE_LINE_MAX)
                return;
        sizes = calloc(n * ARRAY_SIZE(sheddable) + 1, sizeof(*sizes));
        for (size_t i = 0; sizes && i < n * ARRAY_SIZE(sheddable); i++) {
                const json_t *network = json_array_get(networks, i / ARRAY_SIZE(sheddable)),
                             *member = json_object_get(network, sheddable[i % ARRAY_SIZE(sheddable)]);
                sizes[i] = member ? size_of(member) : 0;
        }
        while (sizes && size >= WIRE_LINE_MAX) {
                size_t largest = 0;

                for (size_t i = 1; i < n * ARRAY_SIZE(sheddable); i++)
                        if (sizes[i] > sizes[largest])
                                largest = i;
                if (sizes[largest] <= NOTE_SIZE)
                        return;
                json_t *network = json_array_get(networks, largest / ARRAY_SIZE(sheddable));
                if (!json_object_get(network, "left_out"))
                        size += NOTE_SIZE;
                leave_out(network, sheddable[largest % ARRAY_SIZE(sheddable)]);
                size -= sizes[largest];
                sizes[largest] = 0;
        }
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
