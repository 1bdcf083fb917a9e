/* Views: what the broker says of networks, as people read it. */
#include "cli/view.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/address.h"

const char *view_string(const json_t *object, const char *key) {
        const char *s = json_string_value(json_object_get(object, key));

        return s ? s : "";
}

int64_t view_integer(const json_t *object, const char *key) {
        return json_integer_value(json_object_get(object, key));
}

char *view_subnet(const json_t *network, char buffer[static VIEW_TEXT_SIZE]) {
        uint32_t mask;
        int length = ipv4_parse(view_string(network, "mask"), &mask) == 0 ? ipv4_mask_length(mask) : -1;

        if (length >= 0)
                snprintf(buffer, VIEW_TEXT_SIZE, "%s/%d", view_string(network, "subnet"), length);
        else
                snprintf(buffer, VIEW_TEXT_SIZE, "%s", view_string(network, "subnet"));
        return buffer;
}

char *view_ipv6_prefix(const json_t *network, char buffer[static VIEW_TEXT_SIZE]) {
        const char *prefix = view_string(network, "ipv6_prefix");

        if (prefix[0])
                snprintf(buffer, VIEW_TEXT_SIZE, "%s/%" PRId64, prefix,
                         view_integer(network, "ipv6_prefix_length"));
        else
                buffer[0] = '\0';
        return buffer;
}

char *view_state(const json_t *network, char buffer[static VIEW_TEXT_SIZE]) {
        const json_t *removal = json_object_get(network, "removal_ms");
        int64_t seconds = (json_integer_value(removal) + 999) / 1000;

        if (!json_is_integer(removal))
                snprintf(buffer, VIEW_TEXT_SIZE, "%s", view_string(network, "state"));
        else if (seconds < 60)
                snprintf(buffer, VIEW_TEXT_SIZE, "idle, removed in %" PRId64 " s", seconds);
        else
                snprintf(buffer, VIEW_TEXT_SIZE, "idle, removed in %" PRId64 " min %" PRId64 " s",
                         seconds / 60, seconds % 60);
        return buffer;
}

char *view_bytes(int64_t bytes, char buffer[static VIEW_TEXT_SIZE]) {
        static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
        double value = (double)bytes;
        size_t unit = 0;

        while (value >= 1000 && unit + 1 < sizeof(units) / sizeof(units[0])) {
                value /= 1024;
                unit++;
        }
        snprintf(buffer, VIEW_TEXT_SIZE, unit > 0 && value < 9.95 ? "%.1f %s" : "%.0f %s", value,
                 units[unit]);
        return buffer;
}

char *view_user(int64_t uid, char buffer[static VIEW_TEXT_SIZE]) {
        const struct passwd *user = getpwuid((uid_t)uid);

        if (user)
                snprintf(buffer, VIEW_TEXT_SIZE, "%s", user->pw_name);
        else
                snprintf(buffer, VIEW_TEXT_SIZE, "%" PRId64, uid);
        return buffer;
}

char *view_clean(char *text) {
        const unsigned char *from = (const unsigned char *)text;
        char *to = text;

        for (; *from; from++) {
                bool wide = from[0] == 0xc2 && from[1] >= 0x80 && from[1] < 0xa0;

                *to++ = wide || *from < ' ' || *from == 0x7f ? '?' : (char)*from;
                from += wide;
        }
        *to = '\0';
        return text;
}

int view_print_json(const json_t *value) {
        char *text = json_dumps(value, JSON_INDENT(2));

        if (!text)
                return -ENOMEM;
        puts(text);
        free(text);
        return 0;
}
