/* TCP endpoints. */
#define _GNU_SOURCE
#include "endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probe.h"

int endpoint_listen(const char *port) {
        const int yes = 1, no = 0;
        uint16_t number = (uint16_t)parse_number(port, 65535);
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(number) };
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(number) };

        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool six = fd >= 0;
        if (!six)
                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                die_errno("socket");
        if (six)
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
        if (bind(fd, six ? (struct sockaddr *)&in6 : (struct sockaddr *)&in, six ? sizeof(in6) : sizeof(in)) <
            0)
                die_errno("bind to port %s", port);
        if (listen(fd, SOMAXCONN) < 0)
                die_errno("listen on port %s", port);
        return fd;
}

/* Of a non-blocking socket: 0 or -errno. */
static int connect_within(int fd, const struct addrinfo *ai, int timeout_ms) {
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        int error = 0;
        socklen_t size = sizeof(error);

        if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0 && errno != EINPROGRESS)
                return -errno;
        int r = poll(&p, 1, timeout_ms);
        if (r < 0)
                return -errno;
        if (r == 0)
                return -ETIMEDOUT;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
                return -errno;
        return -error;
}

int endpoint_connect(const char *host, const char *port, int timeout_ms) {
        struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM }, *list;
        uint64_t deadline = now_ms() + (uint64_t)timeout_ms;
        int r = getaddrinfo(host, port, &hints, &list);

        if (r != 0)
                die("%s: %s", host, gai_strerror(r));
        r = -EADDRNOTAVAIL;
        for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
                uint64_t now = now_ms();
                int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                if (fd < 0) {
                        r = -errno;
                        continue;
                }
                r = connect_within(fd, ai, deadline > now ? (int)(deadline - now) : 0);
                if (r == 0) {
                        freeaddrinfo(list);
                        return fd;
                }
                close(fd);
        }
        errno = -r;
        die_errno("connect to %s port %s", host, port);
}

int endpoint_accept(int fd, char peer[static INET6_ADDRSTRLEN]) {
        struct sockaddr_storage address;
        socklen_t size = sizeof(address);
        int connection;

        do
                connection = accept4(fd, (struct sockaddr *)&address, &size, SOCK_CLOEXEC);
        while (connection < 0 && (errno == EINTR || errno == ECONNABORTED));
        if (connection < 0)
                die_errno("accept");

        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address;
        if (address.ss_family == AF_INET)
                inet_ntop(AF_INET, &((const struct sockaddr_in *)&address)->sin_addr, peer, INET6_ADDRSTRLEN);
        else if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
                inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], peer, INET6_ADDRSTRLEN);
        else
                inet_ntop(AF_INET6, &in6->sin6_addr, peer, INET6_ADDRSTRLEN);
        return connection;
}
