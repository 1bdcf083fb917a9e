/* Fixture: `berth` as a program, in a configuration folder of its own, and VMs whose vmhost is played by
 * hand. */
#pragma once

#include <jansson.h>
#include <sys/types.h>

struct fixture {
        char *config; /* BERTH_CONFIG_DIR */
        pid_t pid; /* of berth; 0: none */
        int output; /* both of its streams */
};

struct fixture *fixture_new(void);
struct fixture *fixture_free(struct fixture *fixture);

/* Starts berth with these arguments, up to a NULL; its standard input is /dev/null. */
void fixture_start(struct fixture *fixture, const char *const *arguments);
/* All that it printed until its end, to be freed, and its exit status (128 and the number of a signal). */
char *fixture_finish(struct fixture *fixture, int *ret_status);
/* Both: for what needs nobody to play with it. */
char *fixture_run(struct fixture *fixture, int *ret_status, const char *const *arguments);

#define ARGUMENTS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* The path of a file in a VM's directory, to be freed. */
char *fixture_path(const struct fixture *fixture, const char *vm, const char *file);
/* Makes a VM's directory, with a configuration that names a kernel. */
void fixture_make_vm(const struct fixture *fixture, const char *vm);
/* How many entries the folder of VMs has, with those that begin with a dot. */
size_t fixture_count_vms(const struct fixture *fixture);
void fixture_write(const struct fixture *fixture, const char *vm, const char *file, const char *text);

/* A vmhost's socket, listening: to be closed. */
int fixture_listen(const struct fixture *fixture, const char *vm);
/* Accepts the next connection that asks something, not just whether somebody listens, and expects that it is
 * this request (NULL: any). The connection. */
int fixture_accept(int listener, const char *request);
/* Sends a line and, where it is the last, closes. */
void fixture_reply(int connection, const char *line);
void fixture_reply_last(int consume_connection, const char *line);
void fixture_wait_readable(int fd);
