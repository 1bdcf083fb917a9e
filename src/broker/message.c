#include "broker/message.h"

#include <string.h>

#include "base/memory.h"

json_t *message_json(const char *text) {
        json_t *string = json_string(text);

        if (string)
                return string;
        _cleanup_free_ char *copy = strdup(text);
        if (!copy)
                return NULL;
        for (char *c = copy; *c; c++)
                if (*c & 0x80)
                        *c = '?';
        return json_string(copy);
}
