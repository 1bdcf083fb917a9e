/* Service: a program that a network cannot do without, kept running. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "loop/loop.h"

/*
 *   STOPPED --service_start--> STARTING --service_up--> UP
 *   STARTING, UP --program ended--> WAITING --timer--> STARTING
 *   any --service_stop--> STOPPED
 *
 * The first restart is immediate; a program that does not stay up is tried again after 50 ms, doubling to 5 s.
 * What it says goes to our log, line by line, and its last line is the reason that people are told.
 */
enum service_state { SERVICE_STOPPED, SERVICE_STARTING, SERVICE_UP, SERVICE_WAITING };

struct service;

struct service_ops {
        const char *name;
        /* Starts the program with its output on log_fd (borrowed): a pidfd and the pid, or -errno. */
        int (*spawn)(void *data, int log_fd, pid_t *ret_pid, struct error *error);
        /* A line it printed, without the newline. True: it is worth a log line. May be NULL (all are). */
        bool (*line)(void *data, const char *line);
        /* The state changed. May be NULL. */
        void (*changed)(void *data, enum service_state state);
};

int service_new(struct service **ret, struct loop *loop, const struct service_ops *ops, void *data);
/* Kills the program. */
struct service *service_free(struct service *service);

void service_start(struct service *service);
/* Kills the program, and waits until it is gone. */
void service_stop(struct service *service);
/* The program does its work now; told by whoever can see it. */
void service_up(struct service *service);
/* Kills the program and starts it anew at once. */
void service_restart(struct service *service);
/* Signals the program, if one runs. */
void service_signal(struct service *service, int signal);

enum service_state service_state(const struct service *service);
/* Why it is not up, or "". */
const char *service_message(const struct service *service);
/* {"pid","restarts","state","message"}: for `list`. */
json_t *service_describe(const struct service *service);

/* A spawn for programs that run in this process's own namespaces: argv[0] is a path. Before it runs it is written down at
 * `note` (leftover.h; NULL: nowhere). A pidfd or -errno. */
int service_execute(const char *note, const char *const *argv, int log_fd, pid_t *ret_pid, struct error *error);
