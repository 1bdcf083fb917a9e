/* Ssh server: the port of the host behind which a VM's ssh server is, played by hand. */
#pragma once

#include <stdint.h>

/* Listens on a port of 127.0.0.1: the socket, to be closed. */
int ssh_server_listen(uint16_t *ret_port);
/* Takes a connection and resets it, as the forward does where the guest refuses. */
void ssh_server_refuse(int server);
/* Takes a connection, greets and closes it. */
void ssh_server_greet(int server);
