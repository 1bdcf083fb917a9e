/* A VM's directory with a supervisor, a fake and a control socket, served by a process of its own. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "vmhost/controller-fake.h"
#include "vmhost/restart.h"

struct host {
        char *directory; /* of the VM */
        char *socket;
        pid_t pid; /* of the server; 0 when it has been waited for */
};

#define HOST_SSH_PORT 2222

/* Returns when the socket listens. */
void host_start(struct host *host, enum fake_behaviour behaviour, enum restart_policy policy);
/* Waits for the server's own end, which must be one without an error. */
void host_wait(struct host *host);
/* Ends the server if it is still there, and removes the directory. */
void host_deinit(struct host *host);

int host_connect(const struct host *host);
/* Everything that comes until the other side closes: a new string, its size in *ret_size where not NULL. */
char *host_read_all(int fd, size_t *ret_size);
/* One exchange with a request that is sent whole. */
char *host_ask(const struct host *host, const char *request);
/* Asks for `status` until the answer has this text in it. */
void host_await(const struct host *host, const char *text);
