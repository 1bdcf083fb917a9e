#include "vmhost/method.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

#define TIMEOUT_MAX (7LL * 24 * 3600) /* seconds; what is longer is as long */
#define TIMEOUT_DEFAULT (SUPERVISOR_STOP_MS / 1000)

/* Behind the members that the contract names: what is always told of a VM. */
static void add_status(const struct supervisor *supervisor, struct response *response) {
        const struct controller *controller = supervisor_get_controller(supervisor);
        int pid = controller->ops->pid(controller);

        response_add_text(response, "phase", phase_name(controller->phase));
        if (pid)
                response_add_integer(response, "pid", pid);
        if (controller->begun)
                response_add_integer(response, "uptime_ms", (int64_t)controller_uptime_ms(controller));
        if (controller->message[0])
                response_add_text(response, "message", controller->message);
        if (controller->unresponsive_since)
                response_add_integer(response, "unresponsive_since_ms",
                                     (int64_t)((loop_now() - controller->unresponsive_since) / 1000));
}

/* While there is no VM, its state is an error: any word for it would make a client take it for dead, and
 * start another. True where that was answered. */
static bool refuse_while_down(const struct supervisor *supervisor, struct response *response) {
        const struct controller *controller = supervisor_get_controller(supervisor);
        _cleanup_free_ char *text = NULL;
        uint64_t left_ms;

        if (supervisor_is_waiting(supervisor, &left_ms))
                text = text_format("the VM ended (%s) and is started again in %llu ms",
                                   supervisor_end_reason(supervisor), (unsigned long long)left_ms);
        else if (!phase_state(controller->phase))
                text = text_format("the VM is not up yet: %s", controller->message);
        else
                return false;
        method_refuse(response, text ? text : "the VM is not up",
                      text ? strlen(text) : strlen("the VM is not up"));
        return true;
}

static void add_state(const struct supervisor *supervisor, struct response *response, bool info) {
        const struct controller *controller = supervisor_get_controller(supervisor);

        if (!refuse_while_down(supervisor, response)) {
                response_begin(response, true);
                response_add_text(response, "state", phase_state(controller->phase));
        }
        if (info) {
                uint16_t port = controller->ops->ssh_port(controller);
                if (port)
                        response_add_integer(response, "ssh_port", port);
                response_add_text(response, "backend", controller->ops->backend);
        }
        add_status(supervisor, response);
}

static enum method_result run_status(struct supervisor *supervisor, const struct request *request,
                                     struct response *response) {
        add_state(supervisor, response, false);
        return METHOD_CLOSE;
}

static enum method_result run_info(struct supervisor *supervisor, const struct request *request,
                                   struct response *response) {
        const struct controller *controller = supervisor_get_controller(supervisor);
        json_t *addresses = controller->ops->addresses(controller);

        add_state(supervisor, response, true);
        if (addresses)
                response_add_json(response, "addresses", addresses);
        json_decref(addresses);
        return METHOD_CLOSE;
}

static enum method_result run_show(struct supervisor *supervisor, const struct request *request,
                                   struct response *response) {
        json_t *object = json_object();

        run_info(supervisor, request, response);
        if (object) {
                supervisor_describe(supervisor, object);
                response_add_members(response, object);
        }
        json_decref(object);
        return METHOD_CLOSE;
}

static void answer_stopping(struct response *response) {
        response_begin(response, true);
        response_add_text(response, "state", "stopping");
}

static enum method_result run_stop(struct supervisor *supervisor, const struct request *request,
                                   struct response *response) {
        int64_t seconds = request->timeout_seconds;

        if (seconds <= 0)
                seconds = TIMEOUT_DEFAULT;
        if (seconds > TIMEOUT_MAX)
                seconds = TIMEOUT_MAX;
        supervisor_stop(supervisor, (uint64_t)seconds * 1000);
        answer_stopping(response);
        return METHOD_CLOSE;
}

static enum method_result run_force_stop(struct supervisor *supervisor, const struct request *request,
                                         struct response *response) {
        supervisor_force_stop(supervisor);
        answer_stopping(response);
        return METHOD_CLOSE;
}

static enum method_result run_cont(struct supervisor *supervisor, const struct request *request,
                                   struct response *response) {
        struct error error = ERROR_INIT;
        int r = supervisor_cont(supervisor, &error);

        if (r < 0) {
                const char *text = error_text(&error, r);
                method_refuse(response, text, strlen(text));
        } else {
                response_begin(response, true);
                response_add_text(response, "state", "running");
        }
        return METHOD_CLOSE;
}

static enum method_result run_wait(struct supervisor *supervisor, const struct request *request,
                                   struct response *response) {
        return METHOD_WAIT;
}

static enum method_result run_events(struct supervisor *supervisor, const struct request *request,
                                     struct response *response) {
        json_t *now = supervisor_event_now(supervisor);

        method_write_event(now, response);
        json_decref(now);
        return METHOD_FOLLOW;
}

static const struct {
        const char *name;
        enum method_result (*fn)(struct supervisor *supervisor, const struct request *request,
                                 struct response *response);
} methods[] = {
        { "status", run_status }, { "info", run_info },
        { "stop", run_stop },     { "force_stop", run_force_stop },
        { "cont", run_cont },     { "show", run_show },
        { "wait", run_wait },     { "events", run_events },
};

enum method_result method_run(struct supervisor *supervisor, const struct request *request,
                              struct response *response) {
        static const char prefix[] = "unknown method: ";
        enum method_result result = METHOD_CLOSE;

        for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
                if (strlen(methods[i].name) == request->method_size &&
                    memcmp(methods[i].name, request->method, request->method_size) == 0) {
                        result = methods[i].fn(supervisor, request, response);
                        if (result == METHOD_CLOSE)
                                response_end(response);
                        return result;
                }

        /* The name may hold anything, a NUL too. */
        size_t size = sizeof(prefix) - 1 + request->method_size;
        _cleanup_free_ char *text = malloc(size);
        if (text) {
                memcpy(text, prefix, sizeof(prefix) - 1);
                memcpy(text + sizeof(prefix) - 1, request->method, request->method_size);
        }
        method_refuse(response, text ? text : prefix, text ? size : sizeof(prefix) - 1);
        response_end(response);
        return result;
}

void method_refuse(struct response *response, const char *text, size_t size) {
        response_begin(response, false);
        response_add_string(response, "error", text, size);
}

void method_answer_wait(const struct supervisor *supervisor, struct response *response) {
        const struct controller *controller = supervisor_get_controller(supervisor);
        const char *state = phase_state(controller->phase);

        response_begin(response, true);
        response_add_text(response, "state", state ? state : "stopped");
        response_add_json(response, "end", supervisor_last_end(supervisor));
        response_end(response);
}

void method_write_event(const json_t *event, struct response *response) {
        response_begin_bare(response);
        response_add_members(response, event);
        response_end(response);
}
