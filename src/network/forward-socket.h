/* Forward socket: the socket of a forward, of which whoever made it may have kept a copy. */
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * A copy shares the open file: its owner may at any time clear O_NONBLOCK, shut the socket down, set options or take
 * what was waiting in it. None of that may hold up the network's process, so nothing here waits, whatever is done to
 * the copy, and an end that was made by it is told as one.
 */

enum forward_protocol { FORWARD_TCP, FORWARD_UDP };

/* Whether the socket is one of the protocol, which for TCP listens, and prepares it for use: 0, or -EINVAL with a text. */
int forward_socket_prepare(int fd, enum forward_protocol protocol, struct error *error);

/* The kernel's number for the socket, which its copies share (SO_COOKIE, socket(7)); 0 on failure. */
uint64_t forward_socket_cookie(int fd);

/*
 * Takes a connection: a new file descriptor, non-blocking; -EAGAIN where there is none now; -ENFILE where there is no
 * room for one; -ESHUTDOWN where the socket listens no more.
 */
int forward_socket_accept(int fd);

/* Who talks to whom over a UDP socket. Addresses of other families than the socket's are zero. */
struct forward_peer {
        struct sockaddr_storage client;
        socklen_t client_size;
        /* The host's own address that the client knows it by, an IPv4 one mapped; unspecified where it is not known. */
        struct in6_addr local;
};

/* A datagram: its size, or -EAGAIN where there is none now. That none will come is EPOLLHUP or EPOLLRDHUP. */
ssize_t forward_socket_receive(int fd, void *buffer, size_t size, struct forward_peer *ret);
/* Sends one from the address that the client knows. What cannot be sent is lost, as UDP may. */
void forward_socket_send(int fd, const void *data, size_t size, const struct forward_peer *peer);
/* Takes back what makes a socket report errors for ever: an error queue that its owner has asked for. */
void forward_socket_clear_errors(int fd);
