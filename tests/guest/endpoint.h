/* TCP endpoints: listening on all addresses of both families, connecting by name, naming a peer. */
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

/* A socket that accepts IPv4 and IPv6 (IPv4 alone where the kernel has no IPv6). Ends the program on failure.
 */
int endpoint_listen(const char *port);
/* A non-blocking socket, connected within timeout_ms to the first of the host's addresses that answers. Ends
 * the program on failure. */
int endpoint_connect(const char *host, const char *port, int timeout_ms);
/* The next connection, with the peer's numeric address (IPv4 in its own form) in `peer`. */
int endpoint_accept(int fd, char peer[static INET6_ADDRSTRLEN]);
