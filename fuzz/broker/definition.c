/* A network's definition, and the places in it that complaints name. */
#include "../target.h"

#include <string.h>

#include "broker/definition.h"
#include "wire/json-line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *text = (const char *)data;
        struct definition *definition = NULL;
        struct error error = ERROR_INIT;

        /* On any text, a JSON one or not; a line that is there. */
        size_t lines = 1;
        for (size_t i = 0; i < size; i++)
                lines += text[i] == '\n';
        EXPECT(json_line(text, size, "dhcp_reservations", 1, "mac") <= lines);
        EXPECT(json_line(text, size, "allow", -1, "users") <= lines);

        if (definition_parse("fuzz", "file", text, size, &definition, &error) < 0) {
                EXPECT(!definition && (error.code == 0 || strncmp(error.text, "file:", 5) == 0));
                return 0;
        }
        EXPECT(definition->mtu >= DEFINITION_MTU_MIN && definition->mtu <= DEFINITION_MTU_MAX);
        EXPECT(!definition->gateway || (definition->mask_length >= 8 && definition->mask_length <= 30));
        EXPECT(definition->mode == MODE_SHARED || (!definition->nat44 && !definition->nat66));
        for (size_t i = 0; i < definition->n_reservations; i++)
                EXPECT(definition->reservations[i].address != definition->gateway);
        definition_free(definition);
        return 0;
}
