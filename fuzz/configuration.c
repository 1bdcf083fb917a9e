/* A `configure` message: what is accepted is a network that can be described. */
#include "target.h"

#include <string.h>

#include "base/text.h"
#include "network/configuration.h"

static void check(const struct configuration *c) {
        uint32_t host = c->gateway & ~c->mask;

        EXPECT(text_is_name(c->name));
        EXPECT(ipv4_mask_length(c->mask) >= 8 && ipv4_mask_length(c->mask) <= 30);
        EXPECT(host != 0 && host != ~c->mask);
        EXPECT(c->mtu >= 1280 && c->mtu <= 65520);
        for (size_t i = 0; i < c->n_reservations; i++) {
                EXPECT(((c->reservations[i].address ^ c->gateway) & c->mask) == 0);
                EXPECT(mac_is_unicast(&c->reservations[i].mac));
                EXPECT(!*c->reservations[i].name || text_is_label(c->reservations[i].name));
        }

        json_t *facts = configuration_facts(c);
        EXPECT(facts);
        EXPECT(!c->ipv6 == !json_object_get(facts, "ipv6_prefix"));
        json_decref(facts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        json_t *body = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
        struct configuration configuration;
        struct error error = ERROR_INIT;

        if (!body)
                return 0;
        if (configuration_init(&configuration, body, &error) == 0) {
                check(&configuration);
                configuration_deinit(&configuration);
        } else {
                /* The text goes to the broker, and from there to a client. */
                json_t *text = json_string(error.text);
                EXPECT(*error.text && text);
                json_decref(text);
        }
        json_decref(body);
        return 0;
}
