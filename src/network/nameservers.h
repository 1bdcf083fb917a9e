/* Name servers: those of the host's /etc/resolv.conf, as it is now. */
#pragma once

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* resolv.conf(5): MAXNS is 3. */
#define NAMESERVERS_MAX 3

struct nameserver {
        struct sockaddr_storage address; /* AF_INET or AF_INET6, port 53 */
        socklen_t size;
        char zone[IF_NAMESIZE]; /* the link of a link-local one, a name of the host's namespace; "" for none */
};

struct nameservers {
        struct nameserver servers[NAMESERVERS_MAX];
        size_t n;
        size_t preferred; /* the one to ask next; below n when n > 0 */
        struct stat stamp; /* of the file that was read */
        bool read;
};

/* Reads the file again if it is another or has changed since; without one, or with no server in it, n is 0. */
void nameservers_refresh(struct nameservers *nameservers, const char *path);
/* The one with this number did not answer: if it is still the preferred one, another is now. */
void nameservers_skip(struct nameservers *nameservers, size_t asked);
/* Whether a line of resolv.conf names a server, and which: for tests and fuzzing. */
bool nameservers_parse_line(const char *line, struct nameserver *ret);
