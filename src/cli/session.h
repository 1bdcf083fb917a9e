/* A session: one run of `berth`, its broker, and what went wrong. */
#pragma once

#include <berth/berth.h>
#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

struct session {
        bool system; /* --system was given */
        bool misused; /* the error is the caller's: the exit status is then STATUS_MISUSED */
        struct berth *berth; /* NULL before session_connect */
        struct error error;
};

void session_deinit(struct session *session);

/* Connects, and starts the broker where none runs; a berthd beside this program, or in a build tree, counts
 * first. */
int session_connect(struct session *session);
/*
 * Connects only where a broker runs: 1, or 0 when there is none, or a negative errno, which is never -ENOENT.
 * session->berth is there in each case, to be asked for its socket.
 */
int session_connect_running(struct session *session);

/* What becomes of a broker that does not run: the end of a sentence for people. */
const char *session_broker_start(const struct session *session);

/* The caller's mistake; returns -EINVAL. */
int session_misused(struct session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The text of the library's last failure, with what was being done and what to do next. Returns code. */
int session_broker_error(struct session *session, int code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* The same for a failure on a network's handle. */
int session_network_error(struct session *session, const struct berth_network *network, int code,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The broker's list, of all or (name not NULL) of one network; *ret is a new reference. */
int session_list(struct session *session, const char *name, json_t **ret);
