#include "vmhost/controller-qemu.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "vmhost/agent.h"
#include "vmhost/console.h"
#include "vmhost/endpoint.h"
#include "vmhost/guest.h"
#include "vmhost/identity.h"
#include "vmhost/launch.h"
#include "vmhost/log-file.h"
#include "vmhost/oom.h"
#include "vmhost/qemu.h"
#include "vmhost/scope.h"
#include "vmhost/session.h"

#define TAIL_LINES 50 /* of the console, for the record of the end: a panic of Linux and what led to it */
#define CONSOLE_LOG_DEFAULT (8ULL << 20) /* bytes, without a configuration */
#define AGENT_PATIENCE 2000000U /* microseconds; the stop's plan may be shorter */

/*
 * A run: launch → QEMU's process (child, pidfd) with its guest (guest.h: what QMP tells) → end. `session` and
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

        /* Of a run. */
        struct launch *launch; /* while it is prepared */
        struct identity identity;
        struct source *child;
        int pidfd; /* owned: a duplicate of what `child` watches, to send signals by */
        struct guest *guest;
        struct oom oom;
        struct stop *stop;
        struct agent *agent; /* while it is asked to shut down */
        struct source *given_up; /* ends a run that never had a process, from the loop */
        bool unattended; /* adopted, and not heard of yet */
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
        qemu->agent = agent_free(qemu->agent);
        qemu->guest = guest_free(qemu->guest);
        qemu->stop = stop_free(qemu->stop);
        qemu->child = source_free(qemu->child);
        qemu->pidfd = fd_close(qemu->pidfd);
        qemu->identity = (struct identity){};
        qemu->wanted_budget_ms = 0;
        qemu->wanted_force = false;
        qemu->unattended = false;
        source_disarm(qemu->given_up);
}

/* The last words of a QEMU that gave up by itself say more than its exit code. */
static void add_last_words(struct qemu *qemu, struct end *end, bool never_ready) {
        char words[256];

        qemu_last_words(qemu->directory, words, sizeof(words));
        if (!words[0])
                return;
        char *reason = never_ready ? text_format("QEMU did not start: %s", words)
                                   : text_format("%s: %s", end->reason, words);
        if (reason) {
                free(end->reason);
                end->reason = reason;
        }
}

static int on_child(struct source *source, const siginfo_t *info, void *data) {
        struct qemu *qemu = data;
        struct end end = END_INIT;
        struct end_evidence evidence = { .child = info->si_pid != 0, .stage = stop_get_stage(qemu->stop) };

        /* Its last events may still be in the socket. */
        guest_drain(qemu->guest);
        guest_testify(qemu->guest, &evidence);
        if (evidence.child && info->si_code == CLD_EXITED)
                evidence.exit_code = info->si_status;
        else if (evidence.child)
                evidence.signal = info->si_status;
        if (evidence.child ? evidence.signal == SIGKILL : !evidence.shutdown_reason)
                evidence.out_of_memory = oom_was_killed(&qemu->oom);
        if (end_judge(&end, &evidence) < 0)
                log_error("out of memory while a VM ends");
        else if (end.by == END_BY_CRASH && evidence.child && evidence.exit_code != 0)
                add_last_words(qemu, &end, !guest_was_ready(qemu->guest));
        end.console_tail = console_tail(qemu->directory, TAIL_LINES);
        forget_run(qemu);
        remove_sockets(qemu);
        controller_end(&qemu->base, &end);
        return 0;
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

static void on_agent(int result, void *data) {
        struct qemu *qemu = data;

        qemu->agent = agent_free(qemu->agent);
        if (result < 0)
                log_info("the guest agent does not take the order to shut down: %s", strerror(-result));
        stop_agent_answered(qemu->stop, result == 0);
}

static bool begin_stage(struct qemu *qemu, enum stop_stage stage) {
        switch (stage) {
        case STOP_AGENT:
                guest_wake(qemu->guest);
                return guest_may_have_agent(qemu->guest) &&
                       agent_shutdown(&qemu->agent, qemu->loop, qemu->directory, QEMU_AGENT_SOCKET,
                                      AGENT_PATIENCE, on_agent, qemu) == 0;
        case STOP_ACPI:
                guest_press_power(qemu->guest);
                return true;
        case STOP_QUIT:
                return guest_quit(qemu->guest);
        case STOP_SIGTERM:
                /* One that does not answer would not see it in the short time that a forced stop has. */
                if (stop_is_forced(qemu->stop) && guest_unresponsive_since(qemu->guest))
                        return false;
                process_signal(qemu->pidfd, SIGTERM);
                return true;
        default:
                process_signal(qemu->pidfd, SIGKILL);
                return true;
        }
}

static bool on_stage(enum stop_stage stage, void *data) {
        struct qemu *qemu = data;
        bool again = qemu->base.phase == PHASE_STOPPING && stop_get_stage(qemu->stop) == STOP_ACPI &&
                     text_equal(qemu->base.message, "asked by the power button");
        static const char *const messages[] = {
                [STOP_AGENT] = "asked by the guest agent", [STOP_ACPI] = "asked by the power button",
                [STOP_QUIT] = "QEMU is told to end",       [STOP_SIGTERM] = "QEMU is sent SIGTERM",
                [STOP_SIGKILL] = "QEMU is sent SIGKILL",
        };

        if (stage != STOP_AGENT)
                qemu->agent = agent_free(qemu->agent);
        if (!begin_stage(qemu, stage))
                return false;
        if (!again) {
                controller_set(&qemu->base, PHASE_STOPPING, "%s", messages[stage]);
                controller_emit(&qemu->base, "stage", json_pack("{s:s}", "stage", stop_stage_name(stage)));
        }
        return true;
}

/* Before there is a process: whether the stop is dealt with. */
static bool stop_unborn(struct qemu *qemu) {
        if (qemu->guest)
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
                stop_begin(qemu->stop, budget_ms);
        else if (qemu->launch && (!qemu->wanted_budget_ms || budget_ms < qemu->wanted_budget_ms))
                qemu->wanted_budget_ms = budget_ms;
}

static void qemu_force_stop(struct controller *controller) {
        struct qemu *qemu = qemu_of(controller);

        if (!stop_unborn(qemu))
                stop_force(qemu->stop);
        else if (qemu->launch)
                qemu->wanted_force = true;
}

static int qemu_cont(struct controller *controller, struct error *error) {
        return guest_cont(qemu_of(controller)->guest, error);
}

/* ---- The guest ---- */

static void on_guest_phase(enum phase phase, const char *message, void *data) {
        struct qemu *qemu = data;

        if (qemu->base.phase != PHASE_STOPPING)
                controller_set(&qemu->base, phase, "%s", message);
}

static void attended(struct qemu *qemu) {
        if (!qemu->unattended)
                return;
        qemu->unattended = false;
        qemu->base.listener->on_attended(qemu->base.data);
}

static void on_guest_event(const char *event, json_t *consume_details, void *data) {
        struct qemu *qemu = data;

        qemu->base.unresponsive_since = guest_unresponsive_since(qemu->guest);
        controller_emit(&qemu->base, event, consume_details);
        if (qemu->base.unresponsive_since)
                attended(qemu);
}

static void on_guest_alive(void *data) {
        struct qemu *qemu = data;

        log_file_bound_all(qemu->directory, qemu->configuration);
        oom_look(&qemu->oom);
        attended(qemu);
}

static const struct guest_handlers guest_handlers = {
        .on_phase = on_guest_phase,
        .on_event = on_guest_event,
        .on_alive = on_guest_alive,
};

/* QEMU's process is there: watches it. The pidfd is consumed, on failure too. */
static int attend(struct qemu *qemu, int consume_pidfd, enum guest_origin origin, struct error *error) {
        const char *disk = qemu->configuration ? qemu->configuration->disk : NULL;
        _cleanup_fd_ int pidfd = consume_pidfd;
        int r;

        qemu->pidfd = fd_dup(pidfd);
        if (qemu->pidfd < 0)
                return error_errno(error, qemu->pidfd, "cannot watch QEMU");
        oom_begin(&qemu->oom, qemu->identity.pid);
        r = stop_new(&qemu->stop, qemu->loop, on_stage, qemu);
        if (r >= 0)
                r = guest_new(&qemu->guest, qemu->loop, qemu->directory, disk ? disk : qemu->directory,
                              origin, &guest_handlers, qemu);
        if (r >= 0)
                r = loop_add_child(qemu->loop, &qemu->child, steal_fd(&pidfd), on_child, qemu);
        return r < 0 ? error_errno(error, r, "cannot watch QEMU") : 0;
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

        qemu->launch = NULL;
        qemu->session = result->session;
        if (result->code < 0) {
                end_unborn(qemu, STOP_NONE, error_text(&result->error, result->code));
                return;
        }
        int r = identity_of(result->pid, &qemu->identity);
        if (r < 0)
                error_errno(&result->error, r, "cannot tell which process QEMU is");
        else
                r = attend(qemu, steal_fd(&result->pidfd), GUEST_NEW, &result->error);
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
        qemu->identity = identity;
        r = session_adopt(&qemu->session, json_object_get(run, "session"), pidfd, error);
        if (r < 0) {
                /* QEMU holds its networks all the same; only telling of them is not possible. */
                log_warning("%s", error_text(error, r));
                qemu->session = NULL;
        }
        r = attend(qemu, steal_fd(&pidfd), booted ? GUEST_ADOPTED_BOOTED : GUEST_ADOPTED_BOOTING, error);
        if (r < 0) {
                forget_run(qemu);
                return r;
        }
        qemu->unattended = true;
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
        return (int)qemu_of(controller)->identity.pid;
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

        if (!qemu->guest)
                return NULL;
        facts = json_pack("{s:s, s:I, s:b, s:I, s:o?}", "qmp", QEMU_QMP_SOCKET, "begun_us",
                          (json_int_t)controller->begun, "booted", guest_has_booted(qemu->guest), "ssh_port",
                          (json_int_t)qemu_ssh_port(controller), "session",
                          qemu->session ? session_describe(qemu->session) : NULL);
        if (facts && identity_write(&qemu->identity, facts) < 0) {
                json_decref(facts);
                facts = NULL;
        }
        return facts;
}

static void qemu_describe(const struct controller *controller, json_t *object) {
        const struct qemu *qemu = qemu_of(controller);
        json_t *stop = qemu->stop ? stop_describe(qemu->stop) : NULL;
        json_t *networks = qemu->session ? session_describe(qemu->session) : NULL;
        char confinement[160], scope[SCOPE_NAME_SIZE];

        if (stop)
                json_object_set_new(object, "stop", stop);
        if (qemu->guest)
                guest_describe(qemu->guest, object);
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
        if (qemu->identity.pid > 0 && scope_find(qemu->identity.pid, scope) == 0)
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
        qemu->pidfd = -1;
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
