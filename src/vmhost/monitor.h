/* Monitor: watches one QEMU over QMP, for as long as it lives. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "loop/loop.h"

/*
 * Holds the one QMP connection, makes it again when it is lost while QEMU runs, and asks for QEMU's state
 * every MONITOR_INTERVAL. A QEMU that has not answered within MONITOR_PATIENCE is unresponsive since the
 * question was asked, until it says anything again; meanwhile it is asked nothing more, so that nothing piles
 * up.
 */
#define MONITOR_INTERVAL 2000000U /* microseconds */
#define MONITOR_PATIENCE 2000000U

struct monitor;

struct monitor_handlers {
        /* The first time that QEMU speaks QMP with us. */
        void (*on_ready)(void *data);
        /* QEMU's RunState ("running", "paused", "io-error"...), each time it is asked for. */
        void (*on_status)(const char *status, void *data);
        /* `details` is borrowed, or NULL. */
        void (*on_event)(const char *event, json_t *details, void *data);
        void (*on_responsive)(bool responsive, void *data);
};

/* The socket is in `directory`. Connects at once, or as soon as it can. */
int monitor_new(struct monitor **ret, struct loop *loop, const char *directory, const char *socket,
                const struct monitor_handlers *handlers, void *data);
struct monitor *monitor_free(struct monitor *monitor);

/* loop_now of the question that has no answer, or 0 while QEMU answers. */
uint64_t monitor_unresponsive_since(const struct monitor *monitor);
/* Asks for the state out of turn, after an event that changed it. */
void monitor_ask(struct monitor *monitor);
/* A command whose answer tells nothing; a refusal is logged. 0 or -errno where it could not be sent. */
int monitor_execute(struct monitor *monitor, const char *command);

/* A command that takes nothing and tells something: `value` is borrowed, NULL where QEMU refuses or does not
 * answer. 0 or -errno where it could not be sent. */
typedef void (*monitor_query_fn)(json_t *value, void *data);
int monitor_query(struct monitor *monitor, const char *command, monitor_query_fn fn);
/* Hands on what QEMU said last, when its process has ended. */
void monitor_drain(struct monitor *monitor);
