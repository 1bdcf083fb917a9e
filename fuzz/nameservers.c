/* A line of resolv.conf: what is taken for a server is an address with port 53. */
#include "target.h"

#include <string.h>

#include "base/memory.h"
#include "network/nameservers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *line = strndup((const char *)data, size);
        struct nameserver server;

        EXPECT(line);
        memset(&server, 0xff, sizeof(server));
        if (!nameservers_parse_line(line, &server))
                return 0;
        EXPECT(strncmp(line, "nameserver", 10) == 0);
        EXPECT(server.size <= sizeof(server.address));
        EXPECT(strnlen(server.zone, sizeof(server.zone)) < sizeof(server.zone));
        if (server.address.ss_family == AF_INET) {
                const struct sockaddr_in *in = (struct sockaddr_in *)&server.address;
                EXPECT(server.size == sizeof(*in) && in->sin_port == htons(53) && !*server.zone);
        } else {
                const struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&server.address;
                EXPECT(in6->sin6_family == AF_INET6);
                EXPECT(server.size == sizeof(*in6) && in6->sin6_port == htons(53));
                EXPECT(!*server.zone || in6->sin6_scope_id == 0);
        }
        return 0;
}
