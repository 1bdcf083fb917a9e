#include "vmhost/controller-qemu.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "vmhost/console.h"
#include "vmhost/endpoint.h"
#include "vmhost/identity.h"
#include "vmhost/launch.h"
#include "vmhost/qemu.h"
#include "vmhost/run.h"
#include "vmhost/scope.h"
#include "vmhost/session.h"

#define CONSOLE_LOG_DEFAULT (8ULL << 20) /* bytes, without a configuration */

/*
 * A launch makes QEMU's process, and a run (run.h) is that process until it has ended. `session` and
 * `console` stay from one run to the next.
 */
struct qemu {
        struct controller base;
        struct loop *loop;
        char *directory, *name;
        const struct configuration *configuration; /* borrowed; NULL: none could be read */
        uint16_t preferred_ssh_port; /* that it had last; 0 for none */
        struct session *session;
        struct console *console;

        struct launch *launch; /* while a run is prepared */
        struct run *run;
        struct source *given_up; /* ends a run that never had a process, from the loop */
        uint64_t wanted_budget_ms; /* a stop that came while QEMU was about to be started; 0: none */
        bool wanted_force;
};

static struct qemu *qemu_of(const struct controller *controller) {
        return container_of((struct controller *)controller, struct qemu, base);
}

/* ---- The end ---- */

/* What QEMU listened on; the VM's lock makes them ours to remove. */
static void remove_sockets(const struct qemu *qemu) {
        static const char *const names[] = { QEMU_QMP_SOCKET, QEMU_CONSOLE_SOCKET, QEMU_AGENT_SOCKET };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_free_ char *path = text_format("%s/%s", qemu->directory, names[i]);
                if (path)
                        unlink(path);
        }
}

static void forget_run(struct qemu *qemu) {
        qemu->run = run_free(qemu->run);
        qemu->wanted_budget_ms = 0;
        qemu->wanted_force = false;
        source_disarm(qemu->given_up);
}

static void on_ended(struct end *end, void *data) {
        struct qemu *qemu = data;

        forget_run(qemu);
        remove_sockets(qemu);
        controller_end(&qemu->base, end);
}

/* A run that came to no process; what it listened at may be there already. */
static void end_unborn(struct qemu *qemu, enum stop_stage stage, const char *reason) {
        struct end end = END_INIT;

        end.by = END_BY_HOST;
        end.stage = stage;
        end.reason = strdup(reason);
        forget_run(qemu);
        remove_sockets(qemu);
        controller_end(&qemu->base, &end);
}

static int on_given_up(struct source *source, void *data) {
        end_unborn(data, STOP_QUIT, "stopped on request, before QEMU was started");
        return 0;
}

/* ---- Stop ---- */

static void on_stage(enum stop_stage stage, void *data) {
        struct qemu *qemu = data;
        static const char *const messages[] = {
                [STOP_AGENT] = "asked by the guest agent", [STOP_ACPI] = "asked by the power button",
                [STOP_QUIT] = "QEMU is told to end",       [STOP_SIGTERM] = "QEMU is sent SIGTERM",
                [STOP_SIGKILL] = "QEMU is sent SIGKILL",
        };

        /* The button is pressed again and again, which is told once. */
        if (stage == STOP_ACPI && qemu->base.phase == PHASE_STOPPING &&
            text_equal(qemu->base.message, messages[STOP_ACPI]))
                return;
        controller_set(&qemu->base, PHASE_STOPPING, "%s", messages[stage]);
        controller_emit(&qemu->base, "stage", json_pack("{s:s}", "stage", stop_stage_name(stage)));
}

/* Before there is a process: whether the stop is dealt with. */
static bool stop_unborn(struct qemu *qemu) {
        if (qemu->run)
                return false;
        if (qemu->launch && launch_abandon(qemu->launch)) {
                qemu->launch = NULL;
                controller_set(&qemu->base, PHASE_STOPPING, "before QEMU was started");
                source_arm(qemu->given_up, 0);
        }
        return true;
}

static void qemu_stop(struct controller *controller, uint64_t budget_ms) {
        struct qemu *qemu = qemu_of(controller);

        if (!stop_unborn(qemu))
                run_stop(qemu->run, budget_ms);
        else if (qemu->launch && (!qemu->wanted_budget_ms || budget_ms < qemu->wanted_budget_ms))
                qemu->wanted_budget_ms = budget_ms;
}

static void qemu_force_stop(struct controller *controller) {
        struct qemu *qemu = qemu_of(controller);

        if (!stop_unborn(qemu))
                run_force_stop(qemu->run);
        else if (qemu->launch)
                qemu->wanted_force = true;
}

static int qemu_cont(struct controller *controller, struct error *error) {
        return run_cont(qemu_of(controller)->run, error);
}

/* ---- The run ---- */

static void on_guest_phase(enum phase phase, const char *message, void *data) {
        struct qemu *qemu = data;

        if (qemu->base.phase != PHASE_STOPPING)
                controller_set(&qemu->base, phase, "%s", message);
}

static void on_guest_event(const char *event, json_t *consume_details, void *data) {
        struct qemu *qemu = data;

        qemu->base.unresponsive_since = run_unresponsive_since(qemu->run);
        controller_emit(&qemu->base, event, consume_details);
}

static void on_attended(void *data) {
        struct qemu *qemu = data;

        qemu->base.listener->on_attended(qemu->base.data);
}

static const struct run_handlers run_handlers = {
        .on_phase = on_guest_phase,
        .on_event = on_guest_event,
        .on_attended = on_attended,
        .on_stage = on_stage,
        .on_ended = on_ended,
};

/* QEMU's process is there. The pidfd is consumed, on failure too. */
static int attend(struct qemu *qemu, const struct identity *identity, int consume_pidfd,
                  enum guest_origin origin, struct error *error) {
        const struct run_settings settings = {
                .directory = qemu->directory,
                .configuration = qemu->configuration,
                .identity = *identity,
                .origin = origin,
        };

        return run_new(&qemu->run, qemu->loop, &settings, consume_pidfd, &run_handlers, qemu, error);
}

static void connect_console(struct qemu *qemu) {
        struct error error = ERROR_INIT;
        int r = console_connect(qemu->console, &error);

        if (r < 0)
                log_warning("%s", error_text(&error, r));
        if (qemu->session) {
                r = session_watch(qemu->session, qemu->loop);
                if (r < 0)
                        log_warning("cannot watch the networks: %s", strerror(-r));
        }
}

/* ---- The start ---- */

static void on_launch_step(enum launch_step step, void *data) {
        struct qemu *qemu = data;
        const char *name = launch_step_name(step);

        controller_set(&qemu->base, PHASE_PREPARING, "%s", name);
        controller_emit(&qemu->base, "step", json_pack("{s:s}", "step", name));
}

static void on_launch_done(struct launch_result *result, void *data) {
        struct qemu *qemu = data;
        uint64_t budget_ms = qemu->wanted_budget_ms;
        bool force = qemu->wanted_force;
        struct identity identity;

        qemu->launch = NULL;
        qemu->session = result->session;
        if (result->code < 0) {
                end_unborn(qemu, STOP_NONE, error_text(&result->error, result->code));
                return;
        }
        int r = identity_of(result->pid, &identity);
        if (r < 0)
                error_errno(&result->error, r, "cannot tell which process QEMU is");
        else
                r = attend(qemu, &identity, steal_fd(&result->pidfd), GUEST_NEW, &result->error);
        if (r < 0) {
                /* One that cannot be watched must not run. */
                kill(result->pid, SIGKILL);
                fd_close(result->pidfd);
                end_unborn(qemu, STOP_NONE, error_text(&result->error, r));
                return;
        }
        connect_console(qemu);
        qemu->base.listener->on_facts(qemu->base.data);
        if (budget_ms > 0)
                qemu_stop(&qemu->base, budget_ms);
        if (force)
                qemu_force_stop(&qemu->base);
}

static const struct launch_handlers launch_handlers = { .on_step = on_launch_step,
                                                        .on_done = on_launch_done };

/* A vmhost that was killed within the few milliseconds between QEMU's start and its record leaves a QEMU that
 * cannot be proven to be anybody's: another beside it would fight over the disk. */
static int refuse_unknown_qemu(const struct qemu *qemu, struct error *error) {
        _cleanup_fd_ int fd = endpoint_connect(qemu->directory, QEMU_QMP_SOCKET);

        if (fd == -ENOENT || fd == -ECONNREFUSED)
                return 0;
        if (fd < 0 && fd != -EAGAIN)
                return error_errno(error, fd, "cannot tell whether a QEMU listens on %s/%s", qemu->directory,
                                   QEMU_QMP_SOCKET);
        return error_set(error, -EADDRINUSE, "a QEMU that no record tells of listens on %s/%s: end it first",
                         qemu->directory, QEMU_QMP_SOCKET);
}

static int qemu_start(struct controller *controller, struct error *error) {
        struct qemu *qemu = qemu_of(controller);
        int r;

        if (!qemu->configuration)
                return error_set(error, -EINVAL, "without a configuration nothing can be started");
        if (qemu->session && session_ssh_port(qemu->session))
                qemu->preferred_ssh_port = session_ssh_port(qemu->session);
        if (qemu->session)
                session_unwatch(qemu->session); /* it is the thread's for now */
        r = refuse_unknown_qemu(qemu, error);
        if (r < 0)
                return r;
        const struct launch_settings settings = {
                .configuration = qemu->configuration,
                .directory = qemu->directory,
                .name = qemu->name,
                .preferred_ssh_port = qemu->preferred_ssh_port,
        };
        r = launch_begin(&qemu->launch, qemu->loop, &settings, steal_ptr(qemu->session), &launch_handlers,
                         qemu);
        if (r < 0)
                return error_errno(error, r, "cannot begin to start QEMU");
        controller_set(controller, PHASE_PREPARING, "%s", launch_step_name(LAUNCH_NETWORKS));
        return 0;
}

static int qemu_adopt(struct controller *controller, json_t *run, struct error *error) {
        struct qemu *qemu = qemu_of(controller);
        bool booted = json_is_true(json_object_get(run, "booted"));
        json_t *begun = json_object_get(run, "begun_us");
        struct identity identity;
        int r;

        r = identity_read(run, &identity);
        if (r < 0)
                return error_set(error, -ESRCH, "the record does not say which process it was");
        _cleanup_fd_ int pidfd = identity_open(&identity);
        if (pidfd < 0)
                return error_errno(error, pidfd, "process %d", (int)identity.pid);
        r = session_adopt(&qemu->session, json_object_get(run, "session"), pidfd, error);
        if (r < 0) {
                /* QEMU holds its networks all the same; only telling of them is not possible. */
                log_warning("%s", error_text(error, r));
                qemu->session = NULL;
        }
        r = attend(qemu, &identity, steal_fd(&pidfd), booted ? GUEST_ADOPTED_BOOTED : GUEST_ADOPTED_BOOTING,
                   error);
        if (r < 0)
                return r;
        controller_resume(controller, booted ? PHASE_RUNNING : PHASE_BOOTING,
                          json_is_integer(begun) ? (uint64_t)json_integer_value(begun) : loop_now());
        connect_console(qemu);
        return 0;
}

/* ---- What is told of it ---- */

static uint16_t qemu_ssh_port(const struct controller *controller) {
        const struct qemu *qemu = qemu_of(controller);

        return qemu->session ? session_ssh_port(qemu->session) : 0;
}

static int qemu_pid(const struct controller *controller) {
        const struct qemu *qemu = qemu_of(controller);

        return qemu->run ? (int)run_identity(qemu->run)->pid : 0;
}

static json_t *qemu_addresses(const struct controller *controller) {
        const struct qemu *qemu = qemu_of(controller);
        size_t n = qemu->session ? session_n_interfaces(qemu->session) : 0;
        json_t *addresses = n > 0 ? json_array() : NULL;

        for (size_t i = 0; i < n; i++) {
                const struct session_interface *interface = session_get_interface(qemu->session, i);
                if (interface->address)
                        json_array_append_new(addresses, json_string(interface->address));
                if (interface->ipv6_address)
                        json_array_append_new(addresses, json_string(interface->ipv6_address));
        }
        return addresses;
}

static json_t *qemu_facts(const struct controller *controller) {
        const struct qemu *qemu = qemu_of(controller);
        json_t *facts;

        if (!qemu->run)
                return NULL;
        facts = json_pack("{s:s, s:I, s:b, s:I, s:o?}", "qmp", QEMU_QMP_SOCKET, "begun_us",
                          (json_int_t)controller->begun, "booted", run_has_booted(qemu->run), "ssh_port",
                          (json_int_t)qemu_ssh_port(controller), "session",
                          qemu->session ? session_describe(qemu->session) : NULL);
        if (facts && identity_write(run_identity(qemu->run), facts) < 0) {
                json_decref(facts);
                facts = NULL;
        }
        return facts;
}

static void qemu_describe(const struct controller *controller, json_t *object) {
        const struct qemu *qemu = qemu_of(controller);
        json_t *networks = qemu->session ? session_describe(qemu->session) : NULL;
        char confinement[160], scope[SCOPE_NAME_SIZE];

        if (qemu->run)
                run_describe(qemu->run, object);
        json_object_set(object, "networks", json_object_get(networks, "networks"));
        json_object_set(object, "forwards", json_object_get(networks, "forwards"));
        json_decref(networks);
        if (qemu->configuration) {
                const char *accelerator = qemu_accelerator(qemu->configuration, NULL);
                qemu_describe_confinement(qemu->configuration, confinement, sizeof(confinement));
                json_object_set_new(object, "confinement", json_string(confinement));
                if (accelerator)
                        json_object_set_new(object, "accelerator", json_string(accelerator));
                json_object_set_new(object, "configuration", configuration_describe(qemu->configuration));
        }
        if (qemu->run && scope_find(run_identity(qemu->run)->pid, scope) == 0)
                json_object_set_new(object, "scope", json_string(scope));
}

static struct controller *qemu_free(struct controller *controller) {
        struct qemu *qemu = qemu_of(controller);

        if (qemu->launch)
                launch_abandon(qemu->launch);
        forget_run(qemu);
        console_free(qemu->console);
        session_free(qemu->session);
        source_free(qemu->given_up);
        free(qemu->directory);
        free(qemu->name);
        free(qemu);
        return NULL;
}

static const struct controller_ops ops = {
        .backend = "qemu",
        .start = qemu_start,
        .adopt = qemu_adopt,
        .stop = qemu_stop,
        .force_stop = qemu_force_stop,
        .cont = qemu_cont,
        .ssh_port = qemu_ssh_port,
        .pid = qemu_pid,
        .facts = qemu_facts,
        .addresses = qemu_addresses,
        .describe = qemu_describe,
        .free = qemu_free,
};

int controller_qemu_new(struct controller **ret, struct loop *loop, const char *directory, const char *name,
                        const struct configuration *configuration, uint16_t preferred_ssh_port,
                        const struct controller_listener *listener, void *data, struct error *error) {
        struct qemu *qemu = calloc(1, sizeof(*qemu));
        uint64_t log_max = configuration ? (uint64_t)configuration->console_log_mib << 20
                                         : CONSOLE_LOG_DEFAULT;
        int r = -ENOMEM;

        if (!qemu)
                return error_errno(error, -ENOMEM, "cannot begin");
        controller_init(&qemu->base, &ops, listener, data);
        qemu->loop = loop;
        qemu->configuration = configuration;
        qemu->preferred_ssh_port = preferred_ssh_port;
        qemu->directory = strdup(directory);
        qemu->name = strdup(name);
        r = qemu->directory && qemu->name ? loop_add_timer(loop, &qemu->given_up, on_given_up, qemu)
                                          : -ENOMEM;
        if (r < 0)
                error_errno(error, r, "cannot begin");
        else
                r = console_new(&qemu->console, loop, directory, log_max, error);
        if (r < 0) {
                free(qemu->directory);
                free(qemu->name);
                source_free(qemu->given_up);
                free(qemu);
                return r;
        }
        *ret = &qemu->base;
        return 0;
}
