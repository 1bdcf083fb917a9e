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

/* cmocka's setup and teardown: *state is a fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

/* Starts berth with these arguments, up to a NULL; its standard input is /dev/null. */
void fixture_start(struct fixture *fixture, const char *const *arguments);
/* Until it has printed this; `text`, empty at first, holds all that it printed so far. */
#define FIXTURE_TEXT_SIZE 4096
void fixture_expect(const struct fixture *fixture, char text[static FIXTURE_TEXT_SIZE], const char *wanted);
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

/* Writes state.json of a VM that runs as this process, without a vmhost. */
void fixture_write_run(const struct fixture *fixture, const char *vm, pid_t pid);
/* Makes a script of the shell's the program that berth starts as vmhost: what it does before it detaches
 * itself. */
void fixture_write_vmhost(const struct fixture *fixture, const char *script);

/* Makes a named pipe in the configuration folder, and opens both its ends: who opens it does not wait, and
 * who reads from it does. To be closed. */
int fixture_make_pipe(const struct fixture *fixture, const char *name);

/* An end, as `last_end` of a state.json or `end` of an answer tells it. */
#define LAST_END                                                                                             \
        "{\"at\":1700000000000,\"by\":\"crash\",\"stage\":\"none\",\"exit_code\":null,\"signal\":11,"        \
        "\"reason\":\"QEMU was ended by signal 11\",\"console_tail\":["                                      \
        "\"a line\",\"\\u001b[31mred\\u009b32m\"],\"uptime_ms\":5000}"
/* state.json of a VM whose run is not there any more, and what ended before it. */
#define LOST                                                                                                 \
        "{\"phase\":\"running\",\"run\":{\"pid\":1,\"start_time\":1,\"boot_id\":\"another\"},"               \
        "\"last_end\":" LAST_END "}"

/* A vmhost's request for what runs, and its answer. */
#define INFO "{\"method\":\"info\"}"
#define RUNNING                                                                                              \
        "{\"ok\":true,\"state\":\"running\",\"ssh_port\":2222,\"backend\":\"qemu\",\"phase\":\"running\","   \
        "\"pid\":77,\"uptime_ms\":61000,\"addresses\":[\"192.168.64.2\"]}"

/* A vmhost's socket, listening: to be closed. */
int fixture_listen(const struct fixture *fixture, const char *vm);
/* Accepts the next connection that asks something, not just whether somebody listens, and expects that it is
 * this request (NULL: any). The connection. Who waits also asks, every few seconds, whether the vmhost still
 * answers: where another request is expected, that is answered on the way. */
int fixture_accept(int listener, const char *request);
#define FIXTURE_STATUS "{\"method\":\"status\"}"
/* Sends a line and, where it is the last, closes. */
void fixture_reply(int connection, const char *line);
void fixture_reply_last(int consume_connection, const char *line);
void fixture_wait_readable(int fd);
/* berth has said of the VM `web` that its vmhost does not answer, and what to do about it. */
void fixture_expect_silence(const char *output);
