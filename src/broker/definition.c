#include "broker/definition.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

struct definition *definition_new(const char *name, const char *source, enum definition_mode mode) {
        _cleanup_(definition_freep) struct definition *definition = calloc(1, sizeof(*definition));

        if (!definition)
                return NULL;
        definition->name = strdup(name);
        definition->source = strdup(source);
        if (!definition->name || !definition->source)
                return NULL;
        definition->mode = mode;
        definition->mtu = 1500;
        definition->dhcp = definition->dns = true;
        /* A host network leads nowhere, so there is nothing to translate. */
        definition->nat44 = definition->nat66 = mode == MODE_SHARED;
        definition->router_advertisement = definition->anti_spoofing = true;
        return steal_ptr(definition);
}

struct definition *definition_free(struct definition *definition) {
        if (!definition)
                return NULL;
        free(definition->name);
        free(definition->source);
        free(definition->description);
        free(definition->reservations);
        free(definition->allow.uids);
        free(definition->allow.gids);
        free(definition);
        return NULL;
}

void definition_freep(struct definition **definition) {
        definition_free(*definition);
}

const char *definition_mode_name(enum definition_mode mode) {
        return mode == MODE_HOST ? "host" : "shared";
}

int definition_built_in(const char *name, enum definition_mode *ret) {
        for (enum definition_mode mode = MODE_SHARED; mode <= MODE_HOST; mode++)
                if (text_equal(name, definition_mode_name(mode))) {
                        *ret = mode;
                        return 0;
                }
        return -ENOENT;
}

const char *definition_built_in_description(enum definition_mode mode) {
        return mode == MODE_HOST ? "the host and nothing else" : "the host, and the outside by NAT";
}
