#include "vmhost/supervisor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "vmhost/console.h"
#include "vmhost/state.h"

struct supervisor {
        struct loop *loop;
        char *directory;
        struct state state;
        struct restart restart;
        uint64_t stop_budget_ms;
        bool adopt_only;
        struct controller *controller;
        struct source *pause; /* before a restart, or before the end is told */
        uint64_t pause_end; /* loop_now; 0 while no restart is waited for */
        bool adopting; /* a run was found that has not been heard of yet */
        bool up; /* on_up was called */
        bool finished;
        const struct supervisor_listener *listener;
        void *data;
};

static int64_t wall_ms(void) {
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void save(struct supervisor *supervisor, bool durable) {
        struct error error = ERROR_INIT;
        int r = state_save(&supervisor->state, durable, &error);

        /* A full disk must not end a VM; the next change tries again. */
        if (r < 0)
                log_error("%s", error_text(&error, r));
}

/* `details` is stolen, and its members go behind those that every event has. */
static void emit(struct supervisor *supervisor, const char *event, json_t *consume_details) {
        json_t *object = json_pack("{s:s, s:I}", "event", event, "at", (json_int_t)wall_ms());

        if (object) {
                if (consume_details)
                        json_object_update_missing(object, consume_details);
                supervisor->listener->on_event(object, supervisor->data);
        }
        json_decref(object);
        json_decref(consume_details);
}

static json_t *describe_phase(const struct supervisor *supervisor) {
        const struct controller *controller = supervisor->controller;
        json_t *object = json_pack("{s:s}", "phase", phase_name(controller->phase));

        if (object && controller->message[0])
                json_object_set_new(object, "message", json_string(controller->message));
        return object;
}

json_t *supervisor_event_now(const struct supervisor *supervisor) {
        json_t *object = json_pack("{s:s, s:I}", "event", "phase", "at", (json_int_t)wall_ms());
        json_t *phase = describe_phase(supervisor);

        if (object && phase)
                json_object_update(object, phase);
        json_decref(phase);
        return object;
}

static void finish(struct supervisor *supervisor) {
        if (supervisor->finished)
                return;
        supervisor->finished = true;
        supervisor->pause_end = 0;
        source_disarm(supervisor->pause);
        supervisor->listener->on_finished(supervisor->data);
}

/* ---- What the controller says ---- */

/* Takes over what is to be kept: true where it is another than before. */
static bool take_facts(struct supervisor *supervisor) {
        const struct controller *controller = supervisor->controller;
        struct state *state = &supervisor->state;
        json_t *run = controller->ops->facts(controller);
        uint16_t ssh_port = controller->ops->ssh_port(controller);
        bool same = state->phase == controller->phase && (run == state->run || json_equal(run, state->run));

        json_decref(state->run);
        state->run = run;
        state->phase = controller->phase;
        if (ssh_port)
                state->ssh_port = ssh_port;
        return !same;
}

static void on_facts(void *data) {
        struct supervisor *supervisor = data;

        if (take_facts(supervisor))
                save(supervisor, false);
}

static void set_up(struct supervisor *supervisor) {
        if (supervisor->up)
                return;
        supervisor->up = true;
        supervisor->listener->on_up(supervisor->data);
}

static void on_phase(void *data) {
        struct supervisor *supervisor = data;
        const struct controller *controller = supervisor->controller;

        /* An end is saved with its record. */
        if (take_facts(supervisor) && controller->phase != PHASE_STOPPED && controller->phase != PHASE_FAILED)
                save(supervisor, false);
        log_info("%s%s%s", phase_name(controller->phase), controller->message[0] ? ": " : "",
                 controller->message);
        emit(supervisor, "phase", describe_phase(supervisor));
        if (!supervisor->adopting &&
            (controller->phase == PHASE_BOOTING || controller->phase == PHASE_RUNNING))
                set_up(supervisor);
}

static void on_attended(void *data) {
        struct supervisor *supervisor = data;

        supervisor->adopting = false;
        set_up(supervisor);
}

static void on_event(const char *event, json_t *consume_details, void *data) {
        emit(data, event, consume_details);
}

static void record_end(struct supervisor *supervisor, const struct end *end) {
        struct state *state = &supervisor->state;

        json_decref(state->last_end);
        state->last_end = end_to_json(end);
        if (!state->last_end)
                log_error("out of memory: the record of an end is lost");
        json_decref(state->run);
        state->run = NULL;
}

/* The last vmhost left a run behind that is not there any more. */
static void record_lost_run(struct supervisor *supervisor) {
        struct end end = END_INIT;

        end.at_ms = wall_ms();
        end.reason = strdup("it ended while no vmhost ran; this is when that was noticed");
        end.console_tail = console_tail(supervisor->directory, TAIL_LINES);
        record_end(supervisor, &end);
        supervisor->state.phase = PHASE_FAILED;
        end_deinit(&end);
        save(supervisor, true);
}

static void tell_end(struct supervisor *supervisor) {
        save(supervisor, true);
        emit(supervisor, "end", json_pack("{s:O?}", "end", supervisor->state.last_end));
}

/* No run follows but after this pause, if the policy is for one. */
static void go_on_after(struct supervisor *supervisor, const struct end *end) {
        uint64_t pause_ms = 0;
        /* A VM that never came up is the affair of the one who started it and is told so. */
        bool again = supervisor->up &&
                     restart_decide(&supervisor->restart, end, supervisor->state.wanted_running, &pause_ms);
        const char *reason = end->reason ? end->reason : "";

        if (again) {
                supervisor->state.restarts++;
                supervisor->pause_end = loop_now() + pause_ms * 1000;
                source_arm(supervisor->pause, pause_ms * 1000);
        }
        tell_end(supervisor);
        if (again) {
                log_info("ended (%s): %s; started again in %llu ms", end_by_name(end->by), reason,
                         (unsigned long long)pause_ms);
                emit(supervisor, "restart", json_pack("{s:I}", "pause_ms", (json_int_t)pause_ms));
        } else {
                log_info("ended (%s): %s", end_by_name(end->by), reason);
                finish(supervisor);
        }
}

static void on_ended(struct end *end, void *data) {
        struct supervisor *supervisor = data;
        bool lost = supervisor->adopting && supervisor->state.wanted_running;

        supervisor->adopting = false;
        record_end(supervisor, end);
        if (lost && !supervisor->adopt_only) {
                /* From the loop, like any restart; but it is the start that was asked for. */
                supervisor->pause_end = loop_now();
                source_arm(supervisor->pause, 0);
        }
        if (lost) {
                tell_end(supervisor);
                log_info("ended (%s) as it was found: %s", end_by_name(end->by),
                         end->reason ? end->reason : "");
                if (supervisor->adopt_only)
                        finish(supervisor);
        } else {
                go_on_after(supervisor, end);
        }
        end_deinit(end);
}

static const struct controller_listener controller_listener = {
        .on_phase = on_phase,
        .on_facts = on_facts,
        .on_attended = on_attended,
        .on_event = on_event,
        .on_ended = on_ended,
};

const struct controller_listener *supervisor_controller_listener(void) {
        return &controller_listener;
}

/* ---- Runs ---- */

/* A restart that could not even begin counts as a run that failed. */
static void end_failed_start(struct supervisor *supervisor, const char *reason) {
        struct end end = END_INIT;

        end.by = END_BY_HOST;
        end.at_ms = wall_ms();
        end.reason = strdup(reason);
        supervisor->state.phase = PHASE_FAILED;
        on_ended(&end, supervisor);
}

static int on_pause(struct source *source, void *data) {
        struct supervisor *supervisor = data;
        struct error error = ERROR_INIT;

        if (!supervisor->pause_end) {
                finish(supervisor);
                return 0;
        }
        supervisor->pause_end = 0;
        int r = supervisor->controller->ops->start(supervisor->controller, &error);
        if (r < 0)
                end_failed_start(supervisor, error_text(&error, r));
        return 0;
}

static int try_adopt(struct supervisor *supervisor, struct error *error) {
        struct controller *controller = supervisor->controller;
        int r = controller->ops->adopt(controller, supervisor->state.run, error);

        if (r < 0)
                return r;
        log_info("process %d is adopted", controller->ops->pid(controller));
        supervisor->adopting = true;
        supervisor->state.wanted_running = true;
        save(supervisor, false);
        on_phase(supervisor);
        return 0;
}

int supervisor_begin(struct supervisor *supervisor, struct controller *consume_controller,
                     struct error *error) {
        struct state *state = &supervisor->state;
        int r;

        supervisor->controller = consume_controller;
        if (state->run) {
                r = try_adopt(supervisor, error);
                if (r != -ESRCH)
                        return r;
                record_lost_run(supervisor);
                if (error)
                        *error = ERROR_INIT;
        }
        if (supervisor->adopt_only)
                return error_set(error, -ESRCH, "the VM does not run");
        state->wanted_running = true;
        state->restarts = 0;
        r = supervisor->controller->ops->start(supervisor->controller, error);
        if (r < 0)
                return r; /* what was refused at once has changed nothing, and the record neither */
        save(supervisor, false);
        return 0;
}

static bool is_over(const struct supervisor *supervisor) {
        enum phase phase = supervisor->controller->phase;

        return phase == PHASE_STOPPED || phase == PHASE_FAILED;
}

/* Once there is no run, there is none to stop: whoever waits for the next one has waited enough. */
static bool begin_stop(struct supervisor *supervisor) {
        if (supervisor->finished)
                return false;
        if (supervisor->state.wanted_running) {
                supervisor->state.wanted_running = false;
                save(supervisor, true);
        }
        if (!is_over(supervisor))
                return true;
        /* From the loop, so that the answer to the one who asks is on its way first. */
        supervisor->pause_end = 0;
        source_arm(supervisor->pause, 0);
        return false;
}

void supervisor_stop(struct supervisor *supervisor, uint64_t budget_ms) {
        if (begin_stop(supervisor))
                supervisor->controller->ops->stop(supervisor->controller,
                                                  budget_ms ? budget_ms : supervisor->stop_budget_ms);
}

void supervisor_force_stop(struct supervisor *supervisor) {
        if (begin_stop(supervisor))
                supervisor->controller->ops->force_stop(supervisor->controller);
}

int supervisor_cont(struct supervisor *supervisor, struct error *error) {
        struct controller *controller = supervisor->controller;

        if (controller->phase != PHASE_PAUSED && controller->phase != PHASE_IO_ERROR)
                return error_set(error, -EINVAL, "the VM is not paused but %s",
                                 phase_name(controller->phase));
        return controller->ops->cont(controller, error);
}

/* ---- What is told ---- */

const struct controller *supervisor_get_controller(const struct supervisor *supervisor) {
        return supervisor->controller;
}

bool supervisor_is_waiting(const struct supervisor *supervisor, uint64_t *ret_left_ms) {
        uint64_t now = loop_now();

        if (!supervisor->pause_end)
                return false;
        *ret_left_ms = supervisor->pause_end > now ? (supervisor->pause_end - now) / 1000 : 0;
        return true;
}

const json_t *supervisor_last_end(const struct supervisor *supervisor) {
        return supervisor->state.last_end;
}

const char *supervisor_end_reason(const struct supervisor *supervisor) {
        const char *reason = json_string_value(json_object_get(supervisor->state.last_end, "reason"));

        return reason ? reason : "";
}

void supervisor_describe(const struct supervisor *supervisor, json_t *object) {
        uint64_t left_ms;
        json_t *restart = json_pack("{s:s, s:I}", "policy", restart_policy_name(supervisor->restart.policy),
                                    "count", (json_int_t)supervisor->state.restarts);

        if (restart && supervisor_is_waiting(supervisor, &left_ms))
                json_object_set_new(restart, "left_ms", json_integer((json_int_t)left_ms));
        json_object_set_new(object, "name", json_string(supervisor->state.name));
        json_object_set_new(object, "vmhost_pid", json_integer(getpid()));
        json_object_set_new(object, "wanted",
                            json_string(supervisor->state.wanted_running ? "running" : "stopped"));
        json_object_set_new(object, "restart", restart);
        supervisor->controller->ops->describe(supervisor->controller, object);
        json_object_set_new(object, "last_end",
                            supervisor->state.last_end ? json_incref(supervisor->state.last_end)
                                                       : json_null());
}

bool supervisor_has_run(const struct supervisor *supervisor) {
        return supervisor->state.run;
}

uint16_t supervisor_last_ssh_port(const struct supervisor *supervisor) {
        return supervisor->state.ssh_port;
}

/* ---- Its life ---- */

int supervisor_new(struct supervisor **ret, struct loop *loop, const struct supervisor_settings *settings,
                   const char *backend, const struct supervisor_listener *listener, void *data,
                   struct error *error) {
        struct supervisor *supervisor = calloc(1, sizeof(*supervisor));
        struct error unreadable = ERROR_INIT;
        int r = -ENOMEM;

        if (!supervisor)
                return error_errno(error, -ENOMEM, "cannot begin");
        supervisor->loop = loop;
        supervisor->listener = listener;
        supervisor->data = data;
        supervisor->restart.policy = settings->policy;
        supervisor->stop_budget_ms = settings->stop_budget_ms;
        supervisor->adopt_only = settings->adopt_only;
        supervisor->directory = strdup(settings->directory);
        if (supervisor->directory)
                r = loop_add_timer(loop, &supervisor->pause, on_pause, supervisor);
        if (r >= 0)
                r = state_load(&supervisor->state, settings->directory, settings->name, backend, &unreadable);
        if (r < 0) {
                supervisor_free(supervisor);
                return error_set(error, r, "cannot begin: %s", error_text(&unreadable, r));
        }
        if (unreadable.code)
                log_warning("%s; kept as " STATE_FILE STATE_BAD ", and begun anew", unreadable.text);
        *ret = supervisor;
        return 0;
}

struct supervisor *supervisor_free(struct supervisor *supervisor) {
        if (!supervisor)
                return NULL;
        controller_free(supervisor->controller);
        source_free(supervisor->pause);
        state_deinit(&supervisor->state);
        free(supervisor->directory);
        free(supervisor);
        return NULL;
}
