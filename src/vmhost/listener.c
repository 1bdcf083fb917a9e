#include "vmhost/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"

union address {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
};

/* From where on ports need no privilege; 1024 where the kernel does not say. */
static int first_free_port(void) {
        _cleanup_free_ char *text = NULL;
        size_t size;

        return file_read("/proc/sys/net/ipv4/ip_unprivileged_port_start", 16, &text, &size, NULL) == 0
                       ? atoi(text)
                       : 1024;
}

static int explain(const struct configuration_forward *f, int code, struct error *error) {
        const char *protocol = f->udp ? "UDP" : "TCP";
        char address[INET6_ADDRSTRLEN];

        inet_ntop(f->ipv6 ? AF_INET6 : AF_INET, &f->address, address, sizeof(address));
        switch (code) {
        case -EADDRINUSE:
                return error_set(error, code, "%s port %u of %s is in use on this host", protocol,
                                 f->host_port, address);
        case -EACCES:
                return error_set(error, code,
                                 "%s port %u is privileged: from %d on any user may have one (or lower "
                                 "net.ipv4.ip_unprivileged_port_start)",
                                 protocol, f->host_port, first_free_port());
        case -EADDRNOTAVAIL:
                return error_set(error, code, "%s is no address of this host", address);
        default:
                return error_errno(error, code, "cannot listen at %s port %u of %s", protocol, f->host_port,
                                   address);
        }
}

static int open_socket(const struct configuration_forward *f) {
        const int on = 1;
        union address address = { 0 };

        _cleanup_fd_ int fd = socket(f->ipv6 ? AF_INET6 : AF_INET,
                                     (f->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* Connections of an earlier run that linger (TIME_WAIT) are in nobody's way. For UDP it would let two
         * have the same port. */
        if (!f->udp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
                return -errno;
        /* [::] is IPv6 alone, so that 0.0.0.0 can be had beside it. */
        if (f->ipv6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
                return -errno;
        if (f->ipv6)
                address.ipv6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
                                                      .sin6_port = htons(f->host_port),
                                                      .sin6_addr = f->address };
        else {
                address.ipv4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(f->host_port) };
                memcpy(&address.ipv4.sin_addr, &f->address, sizeof(address.ipv4.sin_addr));
        }
        if (bind(fd, &address.any, f->ipv6 ? sizeof(address.ipv6) : sizeof(address.ipv4)) < 0 ||
            (!f->udp && listen(fd, SOMAXCONN) < 0))
                return -errno;
        return steal_fd(&fd);
}

/*
 * A UDP port stays bound until the last copy of its socket is closed, and the broker closes its own a moment after the
 * forward has ended (TCP's can be shut down): a refusal counts after that.
 */
static int open_patiently(const struct configuration_forward *f) {
        const struct timespec moment = { .tv_nsec = 10 * 1000 * 1000 };
        int fd = open_socket(f);

        for (int i = 0; i < 20 && fd == -EADDRINUSE && f->udp; i++) {
                nanosleep(&moment, NULL);
                fd = open_socket(f);
        }
        return fd;
}

int listener_open(const struct configuration_forward *f, struct error *error) {
        int fd = open_patiently(f);

        return fd < 0 ? explain(f, fd, error) : fd;
}

static union address address_of(int fd) {
        union address address = { 0 };
        socklen_t size = sizeof(address);

        getsockname(fd, &address.any, &size);
        return address;
}

uint16_t listener_port(int fd) {
        union address address = address_of(fd);

        return ntohs(address.any.sa_family == AF_INET6 ? address.ipv6.sin6_port : address.ipv4.sin_port);
}

json_t *listener_describe(int fd, uint16_t guest_port) {
        union address address = address_of(fd);
        bool ipv6 = address.any.sa_family == AF_INET6;
        char text[INET6_ADDRSTRLEN] = "";
        int type = SOCK_STREAM;
        socklen_t size = sizeof(type);

        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
        inet_ntop(address.any.sa_family,
                  ipv6 ? (void *)&address.ipv6.sin6_addr : (void *)&address.ipv4.sin_addr, text,
                  sizeof(text));
        return json_pack("{ss ss si si}", "protocol", type == SOCK_DGRAM ? "udp" : "tcp", "listen_address",
                         text, "listen_port", (int)listener_port(fd), "port", (int)guest_port);
}
