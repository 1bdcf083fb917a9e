#include "network/nameservers.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

#define DNS_PORT 53
#define RESOLV_CONF_MAX 65536

bool nameservers_parse_line(const char *line, struct nameserver *ret) {
        char text[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
        struct nameserver server = {};
        struct sockaddr_in *in = (struct sockaddr_in *)&server.address;
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&server.address;

        if (strncmp(line, "nameserver", 10) != 0 || !isblank((unsigned char)line[10]))
                return false;
        line += 10 + strspn(line + 10, " \t");
        size_t length = strcspn(line, " \t\r\n#;");
        if (length >= sizeof(text))
                return false;
        memcpy(text, line, length);
        text[length] = 0;

        if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
                in->sin_family = AF_INET;
                in->sin_port = htons(DNS_PORT);
                server.size = sizeof(*in);
                *ret = server;
                return true;
        }

        /* A link-local server bears its link's name behind a percent sign (RFC 4007, section 11). */
        char *zone = strchr(text, '%');
        if (zone) {
                uint64_t index;

                *zone++ = 0;
                if (!*zone || strlen(zone) >= sizeof(server.zone))
                        return false;
                if (text_parse_u64(zone, UINT32_MAX, &index) == 0)
                        in6->sin6_scope_id = (uint32_t)index;
                else
                        strcpy(server.zone, zone);
        }
        if (inet_pton(AF_INET6, text, &in6->sin6_addr) != 1)
                return false;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(DNS_PORT);
        server.size = sizeof(*in6);
        *ret = server;
        return true;
}

static bool same_file(const struct stat *a, const struct stat *b) {
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
               a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

void nameservers_refresh(struct nameservers *nameservers, const char *path) {
        _cleanup_free_ char *text = NULL;
        struct stat stamp = {};
        size_t size;
        char *rest = NULL;

        /* stat(2) follows links, so a resolver that puts another file in place is noticed as well. */
        bool there = stat(path, &stamp) == 0;
        if (nameservers->read && same_file(&stamp, &nameservers->stamp))
                return;

        *nameservers = (struct nameservers){ .stamp = stamp, .read = true };
        if (!there || file_read(path, RESOLV_CONF_MAX, &text, &size, NULL) < 0)
                return;
        for (char *line = strtok_r(text, "\n", &rest); line && nameservers->n < NAMESERVERS_MAX;
             line = strtok_r(NULL, "\n", &rest))
                if (nameservers_parse_line(line, &nameservers->servers[nameservers->n]))
                        nameservers->n++;
}

void nameservers_skip(struct nameservers *nameservers, size_t asked) {
        if (nameservers->n > 0 && nameservers->preferred == asked)
                nameservers->preferred = (nameservers->preferred + 1) % nameservers->n;
}
