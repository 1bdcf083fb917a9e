#include "network/listing.h"

#include "base/memory.h"
#include "loop/loop.h"
#include "wire/wire.h"

static json_t *describe_uplink(const struct uplink_ops *ops, const void *uplink) {
        json_t *object = ops->describe(uplink);
        const char *message = ops->message(uplink);

        json_object_set_new(object, "kind", json_string(ops->kind));
        json_object_set_new(object, "state", json_string(ops->is_up(uplink) ? "up" : "down"));
        json_object_del(object, "message");
        if (*message)
                json_object_set_new(object, "message", json_string(message));
        return object;
}

/* Leaves out what is longer of the two lists, and then the other: some 150 interfaces fill a line, or the forwards of a
 * user with long names. */
static void fit(json_t *listing) {
        static const char *const keys[] = { "interfaces", "forwards" };

        for (size_t i = 0; i < ARRAY_SIZE(keys) && json_dumpb(listing, NULL, 0, JSON_COMPACT) >= WIRE_LINE_MAX; i++) {
                size_t longest = json_dumpb(json_object_get(listing, keys[0]), NULL, 0, JSON_COMPACT) <
                                 json_dumpb(json_object_get(listing, keys[1]), NULL, 0, JSON_COMPACT);
                json_t *left_out = json_object_get(listing, "left_out");

                if (!left_out) {
                        left_out = json_array();
                        json_object_set_new(listing, "left_out", left_out);
                        json_object_set_new(listing, "message",
                                            json_string("interfaces and forwards are more than a line lists"));
                }
                json_object_del(listing, keys[longest]);
                json_array_append_new(left_out, json_string(keys[longest]));
        }
}

json_t *listing_make(uint64_t serial, const struct listing_parts *parts) {
        json_t *services = json_object();
        json_t *listing = json_pack("{ss sI so so so so}", "command", "listing", "serial", (json_int_t)serial,
                                    "interfaces", ports_describe(parts->ports), "forwards",
                                    forwards_describe(parts->forwards, 0), "uplink",
                                    describe_uplink(parts->uplink_ops, parts->uplink), "services", services);

        if (parts->dnsmasq)
                json_object_set_new(services, "dnsmasq", dnsmasq_describe(parts->dnsmasq));
        if (parts->idle_since) {
                uint64_t idle = loop_now() - parts->idle_since, whole = parts->idle_timeout;
                json_object_set_new(listing, "idle_ms", json_integer((json_int_t)(idle / 1000)));
                json_object_set_new(listing, "removal_ms",
                                    json_integer((json_int_t)(idle < whole ? (whole - idle) / 1000 : 0)));
        }
        fit(listing);
        return listing;
}
