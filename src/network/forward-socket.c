#include "network/forward-socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/time.h>

#include "base/fd.h"
#include "base/memory.h"

#define DRAIN 64 /* messages of an error queue at a time */

static void on_alarm(int signal) {
}

/* Without SA_RESTART, so that a system call it meets ends by EINTR. */
static int catch_alarm(struct error *error) {
        const struct sigaction action = { .sa_handler = on_alarm };

        return sigaction(SIGALRM, &action, NULL) < 0 ? error_errno(error, -errno, "cannot catch a signal") : 0;
}

/* Answers must come from the address that was asked, which on a socket of all addresses is told per datagram (ip(7),
 * ipv6(7)). A socket of IPv6 tells those of IPv4 as mapped ones. */
static void ask_for_addresses(int fd, int domain) {
        const int on = 1;

        if (domain == AF_INET)
                setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
        else
                setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
}

static bool has_port(int fd) {
        union {
                struct sockaddr any;
                struct sockaddr_in v4;
                struct sockaddr_in6 v6; /* whose port is in the same place */
        } address = {};
        socklen_t size = sizeof(address);

        return getsockname(fd, &address.any, &size) == 0 && address.v4.sin_port != 0;
}

int forward_socket_prepare(int fd, enum forward_protocol protocol, struct error *error) {
        int type = 0, domain = 0, listens = 0;
        socklen_t size = sizeof(int);

        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
            getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 ||
            getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0)
                return error_set(error, -EINVAL, "the file descriptor is no socket");
        if (domain != AF_INET && domain != AF_INET6)
                return error_set(error, -EINVAL, "the socket is of no internet family");
        if (protocol == FORWARD_TCP && (type != SOCK_STREAM || !listens))
                return error_set(error, -EINVAL, "the socket is no listening TCP socket");
        if (protocol == FORWARD_UDP && type != SOCK_DGRAM)
                return error_set(error, -EINVAL, "the socket is no UDP socket");
        if (!has_port(fd))
                return error_set(error, -EINVAL, "the socket has no port: bind it first");
        if (protocol == FORWARD_UDP)
                ask_for_addresses(fd, domain);
        int r = fd_set_nonblock(fd, true);
        return r < 0 ? error_errno(error, r, "the socket") : catch_alarm(error);
}

uint64_t forward_socket_cookie(int fd) {
        uint64_t cookie = 0;
        socklen_t size = sizeof(cookie);

        return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) < 0 ? 0 : cookie;
}

/*
 * accept4(2) waits where the file's O_NONBLOCK was cleared and another took the connection. It is set again right
 * before; a timer ends the call where its owner cleared it in between even so.
 */
static int accept_now(int fd) {
        const struct itimerval soon = { .it_value.tv_usec = 20000, .it_interval.tv_usec = 20000 }, never = {};

        fd_set_nonblock(fd, true);
        setitimer(ITIMER_REAL, &soon, NULL);
        int r = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        int result = r < 0 ? -errno : r;
        setitimer(ITIMER_REAL, &never, NULL);
        return result;
}

int forward_socket_accept(int fd) {
        int r = accept_now(fd);

        switch (r) {
        case -EBADF:
        case -EINVAL: /* it was shut down */
        case -ENOTSOCK:
                return -ESHUTDOWN;
        case -EMFILE:
        case -ENFILE:
        case -ENOBUFS:
        case -ENOMEM:
                return -ENFILE;
        default:
                /* The others are errors of one connection, which is gone (accept(2)). */
                return r >= 0 ? r : -EAGAIN;
        }
}

static void map_ipv4(struct in_addr address, struct in6_addr *ret) {
        *ret = (struct in6_addr){ .s6_addr[10] = 0xff, .s6_addr[11] = 0xff };
        memcpy(&ret->s6_addr[12], &address, sizeof(address));
}

static void find_local(struct msghdr *header, struct in6_addr *ret) {
        *ret = in6addr_any;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
                struct in_pktinfo v4;
                struct in6_pktinfo v6;

                if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
                        memcpy(&v4, CMSG_DATA(c), sizeof(v4));
                        map_ipv4(v4.ipi_spec_dst, ret);
                } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
                        memcpy(&v6, CMSG_DATA(c), sizeof(v6));
                        /* A group is nobody's to answer from. */
                        if (!IN6_IS_ADDR_MULTICAST(&v6.ipi6_addr))
                                *ret = v6.ipi6_addr;
                }
        }
}

ssize_t forward_socket_receive(int fd, void *buffer, size_t size, struct forward_peer *ret) {
        _Alignas(struct cmsghdr) char control[256];
        struct iovec vector = { .iov_base = buffer, .iov_len = size };
        struct msghdr header = { .msg_iov = &vector, .msg_iovlen = 1 };
        ssize_t n;

        *ret = (struct forward_peer){};
        do {
                header.msg_name = &ret->client;
                header.msg_namelen = sizeof(ret->client);
                header.msg_control = control;
                header.msg_controllen = sizeof(control);
                n = recvmsg(fd, &header, MSG_DONTWAIT);
        } while (n < 0 && errno == EINTR);
        /* An error is of a packet that was sent before. */
        if (n < 0)
                return -EAGAIN;
        ret->client_size = header.msg_namelen;
        find_local(&header, &ret->local);
        return n;
}

/* The control message for a source address; its size. */
static size_t put_local(int family, const struct in6_addr *local, char *control) {
        struct cmsghdr *c = (struct cmsghdr *)control;
        struct in_pktinfo v4 = {};
        struct in6_pktinfo v6 = { .ipi6_addr = *local };

        if (IN6_IS_ADDR_UNSPECIFIED(local))
                return 0;
        if (family == AF_INET) {
                memcpy(&v4.ipi_spec_dst, &local->s6_addr[12], sizeof(v4.ipi_spec_dst));
                *c = (struct cmsghdr){ .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO,
                                       .cmsg_len = CMSG_LEN(sizeof(v4)) };
                memcpy(CMSG_DATA(c), &v4, sizeof(v4));
                return CMSG_SPACE(sizeof(v4));
        }
        *c = (struct cmsghdr){ .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO,
                               .cmsg_len = CMSG_LEN(sizeof(v6)) };
        memcpy(CMSG_DATA(c), &v6, sizeof(v6));
        return CMSG_SPACE(sizeof(v6));
}

void forward_socket_send(int fd, const void *data, size_t size, const struct forward_peer *peer) {
        _Alignas(struct cmsghdr) char control[256] = {};
        struct iovec vector = { .iov_base = (void *)data, .iov_len = size };
        struct msghdr header = { .msg_iov = &vector, .msg_iovlen = 1 };
        struct sockaddr_storage client = peer->client;

        header.msg_name = &client;
        header.msg_namelen = peer->client_size;
        header.msg_controllen = put_local(client.ss_family, &peer->local, control);
        header.msg_control = header.msg_controllen > 0 ? control : NULL;
        sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void forward_socket_clear_errors(int fd) {
        const int off = 0;
        char byte;

        setsockopt(fd, IPPROTO_IP, IP_RECVERR, &off, sizeof(off));
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &off, sizeof(off));
        for (int i = 0; i < DRAIN && recv(fd, &byte, 1, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0; i++)
                ;
}
