/* A JSON text taken apart by a table with a field of each type. */
#include "target.h"

#include "base/memory.h"
#include "wire/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        json_t *body = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);

        for (int tolerant = 0; body && tolerant < 2; tolerant++) {
                struct error error = ERROR_INIT;
                json_t *object = NULL, *array = NULL, *text;
                const char *name = NULL;
                uint64_t mtu = 1500;
                bool flag = false;
                const struct field fields[] = {
                        { "command", FIELD_STRING, true, &name, 0, 0 },
                        { "isolated", FIELD_BOOL, false, &flag, 0, 0 },
                        { "mtu", FIELD_U64, false, &mtu, 68, 65520 },
                        { "interface", FIELD_OBJECT, false, &object, 0, 0 },
                        { "networks", FIELD_ARRAY, false, &array, 0, 0 },
                };

                if (fields_parse(body, fields, ARRAY_SIZE(fields), tolerant, &error) < 0) {
                        /* The text goes into a reply, whatever the keys were. */
                        text = json_string(error.text);
                        EXPECT(text);
                        json_decref(text);
                        continue;
                }
                EXPECT(name && mtu >= 68 && mtu <= 65520);
                EXPECT(!object || json_is_object(object));
                EXPECT(!array || json_is_array(array));
        }
        json_decref(body);
        return 0;
}
