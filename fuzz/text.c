/* Addresses, numbers and names as text: what parses is printed and parsed again to the same. */
#include "target.h"

#include <string.h>

#include "base/address.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

static void check_addresses(const char *text) {
        char mac_text[MAC_TEXT_SIZE], v4_text[INET_ADDRSTRLEN], v6_text[INET6_ADDRSTRLEN];
        struct in6_addr v6, v6_again;
        struct mac mac, mac_again;
        uint32_t v4, v4_again;

        if (mac_parse(text, &mac) == 0) {
                EXPECT(mac_parse(mac_format(&mac, mac_text), &mac_again) == 0);
                EXPECT(mac_equal(&mac, &mac_again));
        }
        if (ipv4_parse(text, &v4) == 0) {
                int length = ipv4_mask_length(v4);

                EXPECT(strcmp(ipv4_format(v4, v4_text), text) == 0); /* there is one way to write each */
                EXPECT(ipv4_parse(v4_text, &v4_again) == 0 && v4 == v4_again);
                EXPECT(length < 0 || ipv4_length_mask((unsigned)length) == v4);
        }
        if (ipv6_parse(text, &v6) == 0) {
                EXPECT(ipv6_parse(ipv6_format(&v6, v6_text), &v6_again) == 0);
                EXPECT(memcmp(&v6, &v6_again, sizeof(v6)) == 0);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = strndup((const char *)data, size);
        struct error error = ERROR_INIT;
        uint64_t number;

        EXPECT(text);
        check_addresses(text);
        if (text_parse_u64(text, UINT64_MAX, &number) == 0) {
                _cleanup_free_ char *again = text_format("%llu", (unsigned long long)number);

                EXPECT(strcmp(again, text + (strlen(text) - strlen(again))) ==
                       0); /* but for zeros before it */
        }
        EXPECT(!text_is_label(text) || text_is_name(text));
        EXPECT(!text_is_name(text) || !strchr(text, '/'));
        EXPECT(!text_is_uuid(text) || strlen(text) == 36);

        error_set(&error, -1, "%s", text);
        error_prefix(&error, "%s", text);
        EXPECT(strlen(error.text) < sizeof(error.text));
        return 0;
}
