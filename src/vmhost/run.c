#include "vmhost/run.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "vmhost/agent.h"
#include "vmhost/console.h"
#include "vmhost/log-file.h"
#include "vmhost/oom.h"
#include "vmhost/qemu.h"

#define AGENT_PATIENCE 2000000U /* microseconds; the stop's plan may be shorter */

struct run {
        struct loop *loop;
        struct run_settings settings;
        const struct run_handlers *handlers;
        void *data;
        struct source *child;
        int pidfd; /* owned: a duplicate of what `child` watches, to send signals by */
        struct guest *guest;
        struct oom oom;
        struct stop *stop;
        struct agent *agent; /* while it is asked to shut down */
        bool unattended; /* adopted, and not heard of yet */
};

/* ---- The end ---- */

/* The last words of a QEMU that gave up by itself say more than its exit code. */
static void add_last_words(struct run *run, struct end *end, bool never_ready) {
        char words[256];

        qemu_last_words(run->settings.directory, words, sizeof(words));
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
        struct run *run = data;
        struct end end = END_INIT;
        struct end_evidence evidence = { .child = info->si_pid != 0, .stage = stop_get_stage(run->stop) };

        /* Its last events may still be in the socket. */
        guest_drain(run->guest);
        guest_testify(run->guest, &evidence);
        if (evidence.child && info->si_code == CLD_EXITED)
                evidence.exit_code = info->si_status;
        else if (evidence.child)
                evidence.signal = info->si_status;
        if (evidence.child ? evidence.signal == SIGKILL : !evidence.shutdown_reason)
                evidence.out_of_memory = oom_was_killed(&run->oom);
        if (end_judge(&end, &evidence) < 0)
                log_error("out of memory while a VM ends");
        else if (end.by == END_BY_CRASH && evidence.child && evidence.exit_code != 0)
                add_last_words(run, &end, !guest_was_ready(run->guest));
        end.console_tail = console_tail(run->settings.directory, TAIL_LINES);
        run->handlers->on_ended(&end, run->data);
        return 0;
}

/* ---- Stop ---- */

static void on_agent(int result, void *data) {
        struct run *run = data;

        run->agent = agent_free(run->agent);
        if (result < 0)
                log_info("the guest agent does not take the order to shut down: %s", strerror(-result));
        stop_agent_answered(run->stop, result == 0);
}

static bool begin_stage(struct run *run, enum stop_stage stage) {
        switch (stage) {
        case STOP_AGENT:
                guest_wake(run->guest);
                return guest_may_have_agent(run->guest) &&
                       agent_shutdown(&run->agent, run->loop, run->settings.directory, QEMU_AGENT_SOCKET,
                                      AGENT_PATIENCE, on_agent, run) == 0;
        case STOP_ACPI:
                guest_press_power(run->guest);
                return true;
        case STOP_QUIT:
                return guest_quit(run->guest);
        case STOP_SIGTERM:
                /* One that does not answer would not see it in the short time that a forced stop has. */
                if (stop_is_forced(run->stop) && guest_unresponsive_since(run->guest))
                        return false;
                process_signal(run->pidfd, SIGTERM);
                return true;
        default:
                process_signal(run->pidfd, SIGKILL);
                return true;
        }
}

static bool on_stage(enum stop_stage stage, void *data) {
        struct run *run = data;

        if (stage != STOP_AGENT)
                run->agent = agent_free(run->agent);
        if (!begin_stage(run, stage))
                return false;
        run->handlers->on_stage(stage, run->data);
        return true;
}

void run_stop(struct run *run, uint64_t budget_ms) {
        stop_begin(run->stop, budget_ms);
}

void run_force_stop(struct run *run) {
        stop_force(run->stop);
}

/* ---- The guest ---- */

static void attended(struct run *run) {
        if (!run->unattended)
                return;
        run->unattended = false;
        run->handlers->on_attended(run->data);
}

static void on_guest_phase(enum phase phase, const char *message, void *data) {
        struct run *run = data;

        run->handlers->on_phase(phase, message, run->data);
}

static void on_guest_event(const char *event, json_t *consume_details, void *data) {
        struct run *run = data;
        bool unresponsive = guest_unresponsive_since(run->guest) != 0;

        run->handlers->on_event(event, consume_details, run->data);
        if (unresponsive)
                attended(run);
}

static void on_guest_alive(void *data) {
        struct run *run = data;

        log_file_bound_all(run->settings.directory, run->settings.configuration);
        oom_look(&run->oom);
        attended(run);
}

static const struct guest_handlers guest_handlers = {
        .on_phase = on_guest_phase,
        .on_event = on_guest_event,
        .on_alive = on_guest_alive,
};

int run_cont(struct run *run, struct error *error) {
        return guest_cont(run->guest, error);
}

/* ---- The object ---- */

int run_new(struct run **ret, struct loop *loop, const struct run_settings *settings, int consume_pidfd,
            const struct run_handlers *handlers, void *data, struct error *error) {
        const char *disk = settings->configuration ? settings->configuration->disk : NULL;
        _cleanup_fd_ int pidfd = consume_pidfd;
        struct run *run = calloc(1, sizeof(*run));
        int r;

        if (!run)
                return error_errno(error, -ENOMEM, "cannot watch QEMU");
        run->loop = loop;
        run->settings = *settings;
        run->handlers = handlers;
        run->data = data;
        r = run->pidfd = fd_dup(pidfd);
        if (r >= 0) {
                oom_begin(&run->oom, settings->identity.pid);
                r = stop_new(&run->stop, loop, on_stage, run);
        }
        if (r >= 0)
                r = guest_new(&run->guest, loop, settings->directory, disk ? disk : settings->directory,
                              settings->origin, &guest_handlers, run);
        if (r >= 0)
                r = loop_add_child(loop, &run->child, steal_fd(&pidfd), on_child, run);
        if (r < 0) {
                run_free(run);
                return error_errno(error, r, "cannot watch QEMU");
        }
        run->unattended = settings->origin != GUEST_NEW;
        *ret = run;
        return 0;
}

struct run *run_free(struct run *run) {
        if (!run)
                return NULL;
        agent_free(run->agent);
        guest_free(run->guest);
        stop_free(run->stop);
        source_free(run->child);
        fd_close(run->pidfd);
        free(run);
        return NULL;
}

const struct identity *run_identity(const struct run *run) {
        return &run->settings.identity;
}

bool run_has_booted(const struct run *run) {
        return guest_has_booted(run->guest);
}

uint64_t run_unresponsive_since(const struct run *run) {
        return guest_unresponsive_since(run->guest);
}

void run_describe(const struct run *run, json_t *object) {
        json_t *stop = stop_describe(run->stop);

        if (stop)
                json_object_set_new(object, "stop", stop);
        guest_describe(run->guest, object);
}
