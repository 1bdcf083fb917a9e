#include "vmhost/configuration-forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

int forward_parse(const char *text, struct configuration_forward *ret) {
        struct configuration_forward f = { .address.s6_addr = { 127, 0, 0, 1 } };
        char address[INET6_ADDRSTRLEN] = "";
        uint64_t host = 0, guest = 0;
        const char *end;

        if (text_starts_with(text, "tcp:") || text_starts_with(text, "udp:")) {
                f.udp = *text == 'u';
                text += 4;
        }
        _cleanup_free_ char *ports = NULL;
        if (*text == '[') {
                end = strstr(text, "]:");
                f.ipv6 = true;
                text++;
        } else {
                end = strchr(text, ':');
                end = end && strchr(end + 1, ':') ? end : NULL; /* two numbers alone are the ports */
        }
        if (end && (size_t)(end - text) < sizeof(address)) {
                memcpy(address, text, (size_t)(end - text));
                if (inet_pton(f.ipv6 ? AF_INET6 : AF_INET, address, &f.address) != 1)
                        return -EINVAL;
                text = end + (f.ipv6 ? 2 : 1);
        } else if (end || f.ipv6)
                return -EINVAL;

        ports = strdup(text);
        char *colon = ports ? strchr(ports, ':') : NULL;
        if (!colon)
                return -EINVAL;
        *colon = '\0';
        if (text_parse_u64(ports, 65535, &host) < 0 || text_parse_u64(colon + 1, 65535, &guest) < 0 ||
            host == 0 || guest == 0)
                return -EINVAL;
        f.host_port = (uint16_t)host;
        f.guest_port = (uint16_t)guest;
        *ret = f;
        return 0;
}

char *forward_format(const struct configuration_forward *f) {
        char address[INET6_ADDRSTRLEN];

        inet_ntop(f->ipv6 ? AF_INET6 : AF_INET, &f->address, address, sizeof(address));
        return text_format("%s:%s%s%s:%u:%u", f->udp ? "udp" : "tcp", f->ipv6 ? "[" : "", address,
                           f->ipv6 ? "]" : "", f->host_port, f->guest_port);
}

bool forward_collides(const struct configuration_forward *a, const struct configuration_forward *b) {
        static const struct in6_addr any = {};
        size_t size = a->ipv6 ? sizeof(a->address) : sizeof(struct in_addr);

        return a->udp == b->udp && a->ipv6 == b->ipv6 && a->host_port == b->host_port &&
               (memcmp(&a->address, &b->address, size) == 0 || memcmp(&a->address, &any, size) == 0 ||
                memcmp(&b->address, &any, size) == 0);
}
