/* A real berthd in a directory of its own, with stand-in networks; and a client's side of its socket. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "wire/wire.h"

struct fixture {
        char *directory;
        char *socket;
        pid_t broker; /* 0: none */
};

/* cmocka's setup and teardown: *state is the fixture, its broker running with an idle timeout of 60 s. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Runs berthd with further options (NULL-terminated, or NULL) and waits until it is ready. */
void fixture_start(struct fixture *fixture, const char *const *options);
/* The same, where another word may come than "ready": what it says in `line`. Its end is waited for by fixture_stop. */
void fixture_try(struct fixture *fixture, const char *const *options, char line[static 256]);
/* Sends the signal and waits for the end; the status as of waitpid(2). */
int fixture_stop(struct fixture *fixture, int signal);
/* Writes networks.d/NAME.json. */
void fixture_define(struct fixture *fixture, const char *name, const char *text);

/* Whether there is something at this path below the directory. */
bool fixture_has_file(struct fixture *fixture, const char *path);

struct wire *fixture_connect(struct fixture *fixture);

/* Waits for the next message. */
void receive_reply(struct wire *wire, struct wire_message *ret);
/* One exchange; what it fails at fails the test. name may be NULL. */
void ask(struct wire *wire, const char *command, const char *name, struct wire_message *ret);
/* The same on a connection of its own; the reply's body, to be released. */
json_t *ask_once(struct fixture *fixture, const char *command, const char *name);
/* Acquires: the handle, and the lease's number where ret_lease is not NULL. */
struct wire *acquire(struct wire *client, const char *name, json_int_t *ret_lease);
/* Asks over a handle: which process serves it, and which lease it is of. */
pid_t handle_server(struct wire *handle, json_int_t *ret_lease);
/* The error code of a reply, 0 where it has none. */
int error_of(json_t *body);
/* Asks and expects an error. */
void expect_error(struct wire *wire, const char *command, const char *name, int code);

/* Whether a network of a listing is said to have been silent for the second that it has. On a busy machine that is no
 * mistake, and is to be asked again. */
bool is_late(json_t *network);
/* The one network of that name in `list`, to be released; NULL where there is none. */
json_t *fixture_network(struct fixture *fixture, const char *name);
/* Its process; 0 where there is none. */
pid_t fixture_network_pid(struct fixture *fixture, const char *name);
/* Asks again and again until the network has that many leases, or (-1) is gone; fails after a minute. */
void wait_for_leases(struct fixture *fixture, const char *name, int n);

/* Waits until the peer closes; fails after a minute. */
void wait_for_end(int fd);
/* Whether the peer has it open. */
int is_open(int fd);

#define WITH_BROKER(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
