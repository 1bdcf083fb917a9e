#include "vmhost/monitor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "vmhost/endpoint.h"
#include "vmhost/qmp.h"

#define RECONNECT 200000U /* microseconds */
#define COMMAND_PATIENCE 5000000U

struct monitor {
        struct loop *loop;
        char *directory, *socket;
        const struct monitor_handlers *handlers;
        void *data;
        struct qmp *qmp; /* NULL between connections */
        struct source *timer; /* for the next question, or the next connection */
        bool was_ready;
        bool waiting; /* a question is on its way */
        uint64_t asked; /* loop_now of it */
        uint64_t unresponsive; /* as monitor_unresponsive_since */
        bool freed;
};

static void connect_qmp(struct monitor *monitor);

static void set_unresponsive(struct monitor *monitor, uint64_t since) {
        bool before = monitor->unresponsive != 0, now = since != 0;

        monitor->unresponsive = since;
        if (before != now)
                monitor->handlers->on_responsive(!now, monitor->data);
}

static void on_status(struct qmp *qmp, int result, json_t *value, void *data) {
        struct monitor *monitor = data;
        const char *status = json_string_value(json_object_get(value, "status"));

        monitor->waiting = false;
        if (result == -ECONNRESET)
                return; /* on_closed follows, or the monitor goes */
        if (result == -ETIMEDOUT) {
                /* Whatever it says next makes it responsive again, the late answer too. */
                set_unresponsive(monitor, monitor->asked);
                return;
        }
        source_arm(monitor->timer, MONITOR_INTERVAL);
        if (result == 0 && status)
                monitor->handlers->on_status(status, monitor->data);
}

void monitor_ask(struct monitor *monitor) {
        /* While the handshake is not over QEMU may still be starting, which takes longer on a busy machine.
         */
        uint64_t patience = monitor->was_ready ? MONITOR_PATIENCE : COMMAND_PATIENCE;

        if (!monitor->qmp || monitor->waiting || monitor->unresponsive)
                return;
        int r = qmp_call(monitor->qmp, "query-status", NULL, patience, on_status, monitor);
        if (r < 0) {
                source_arm(monitor->timer, MONITOR_INTERVAL);
                return;
        }
        monitor->waiting = true;
        monitor->asked = loop_now();
}

static void on_ready(struct qmp *qmp, void *data) {
        struct monitor *monitor = data;
        bool first = !monitor->was_ready;

        monitor->was_ready = true;
        if (first)
                monitor->handlers->on_ready(monitor->data);
}

static void on_event(struct qmp *qmp, const char *event, json_t *details, void *data) {
        struct monitor *monitor = data;

        monitor->handlers->on_event(event, details, monitor->data);
}

static void on_life(struct qmp *qmp, void *data) {
        struct monitor *monitor = data;

        if (monitor->unresponsive) {
                set_unresponsive(monitor, 0);
                monitor_ask(monitor); /* much may have happened */
        }
}

static void on_closed(struct qmp *qmp, int reason, void *data) {
        struct monitor *monitor = data;

        monitor->qmp = qmp_free(qmp);
        if (reason == -EPROTO)
                log_warning("QEMU said something on QMP that is no QMP");
        source_arm(monitor->timer, RECONNECT);
}

static const struct qmp_handlers qmp_handlers = {
        .on_ready = on_ready,
        .on_event = on_event,
        .on_life = on_life,
        .on_closed = on_closed,
};

static void connect_qmp(struct monitor *monitor) {
        int r = endpoint_connect(monitor->directory, monitor->socket);

        if (r >= 0)
                r = qmp_new(&monitor->qmp, monitor->loop, r, &qmp_handlers, monitor);
        if (r >= 0) {
                monitor_ask(monitor);
                return;
        }
        log_debug("no connection to QEMU: %s", strerror(-r));
        /* One that is stopped has a full queue in time, or somebody else is its one client. */
        if (!monitor->asked)
                monitor->asked = loop_now();
        if (loop_now() - monitor->asked > MONITOR_PATIENCE && !monitor->unresponsive)
                set_unresponsive(monitor, monitor->asked);
        source_arm(monitor->timer, RECONNECT);
}

static int on_timer(struct source *source, void *data) {
        struct monitor *monitor = data;

        if (monitor->qmp)
                monitor_ask(monitor);
        else
                connect_qmp(monitor);
        return 0;
}

int monitor_new(struct monitor **ret, struct loop *loop, const char *directory, const char *socket,
                const struct monitor_handlers *handlers, void *data) {
        struct monitor *monitor = calloc(1, sizeof(*monitor));
        int r;

        if (!monitor)
                return -ENOMEM;
        monitor->loop = loop;
        monitor->handlers = handlers;
        monitor->data = data;
        monitor->directory = strdup(directory);
        monitor->socket = strdup(socket);
        r = monitor->directory && monitor->socket ? loop_add_timer(loop, &monitor->timer, on_timer, monitor)
                                                  : -ENOMEM;
        if (r < 0) {
                monitor_free(monitor);
                return r;
        }
        connect_qmp(monitor);
        *ret = monitor;
        return 0;
}

struct monitor *monitor_free(struct monitor *monitor) {
        if (!monitor)
                return NULL;
        /* Its pending calls are failed, and still find the monitor; their owner is told nothing any more. */
        monitor->freed = true;
        qmp_free(monitor->qmp);
        source_free(monitor->timer);
        free(monitor->directory);
        free(monitor->socket);
        free(monitor);
        return NULL;
}

uint64_t monitor_unresponsive_since(const struct monitor *monitor) {
        return monitor->unresponsive;
}

static void on_executed(struct qmp *qmp, int result, json_t *value, void *data) {
        const char *text = json_string_value(json_object_get(value, "desc"));

        if (result == -EREMOTEIO)
                log_warning("QEMU refuses a command: %s", text ? text : "without a reason");
}

int monitor_execute(struct monitor *monitor, const char *command) {
        if (!monitor->qmp)
                return -ENOTCONN;
        return qmp_call(monitor->qmp, command, NULL, COMMAND_PATIENCE, on_executed, NULL);
}

/* Whom an answer is for: QMP's own data is one pointer, and this is two. */
struct query {
        struct monitor *monitor;
        monitor_query_fn fn;
};

static void on_queried(struct qmp *qmp, int result, json_t *value, void *data) {
        _cleanup_free_ struct query *query = data;

        if (!query->monitor->freed)
                query->fn(result == 0 ? value : NULL, query->monitor->data);
}

int monitor_query(struct monitor *monitor, const char *command, monitor_query_fn fn) {
        if (!monitor->qmp)
                return -ENOTCONN;
        struct query *query = malloc(sizeof(*query));
        if (!query)
                return -ENOMEM;
        *query = (struct query){ .monitor = monitor, .fn = fn };
        int r = qmp_call(monitor->qmp, command, NULL, COMMAND_PATIENCE, on_queried, query);
        if (r < 0)
                free(query);
        return r;
}

void monitor_drain(struct monitor *monitor) {
        if (monitor->qmp)
                qmp_drain(monitor->qmp);
}
