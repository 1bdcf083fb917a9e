/* Programs: starting one beside us, and what it printed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* One that runs. What it prints goes to files in memory, so it never waits for us. */
struct program {
        pid_t pid;
        int pidfd;
        int output, complaints; /* its standard output and standard error */
};

#define PROGRAM_INIT ((struct program){ .pidfd = -1, .output = -1, .complaints = -1 })

/* Starts argv[0], a path, with /dev/null as its input. 0 or -errno. */
int program_start(struct program *ret, const char *const *argv, struct error *error);
/* The same in a process group of its own: what a terminal signals to ours, as by Ctrl-C, is not for it. */
int program_start_apart(struct program *ret, const char *const *argv, struct error *error);
/* Until it has ended, or a time of CLOCK_MONOTONIC in microseconds: 0, -ETIMEDOUT or another -errno. */
int program_await(const struct program *program, uint64_t deadline);
/* Waits for its end, once: the exit status, 128 and the signal's number, or -errno. */
int program_wait(struct program *program);
/* Kills and reaps one that was not waited for; closes all. */
void program_deinit(struct program *program);

/* What it printed, and what it complained, so far: new strings, or NULL. */
char *program_output(const struct program *program);
char *program_complaints(const struct program *program);
/* The last line that is not empty of what it complained: a new string, "" when it said nothing, or NULL. */
char *program_reason(const struct program *program);

/* Runs argv to its end. 0 and (ret_output not NULL) what it printed; -ENOENT where there is no such program
 * in PATH; -EIO with its reason when it failed. */
int program_run(const char *const *argv, char **ret_output, struct error *error);
