/* Start: a VM on its way, and how far it has come. */
#include "cli/vm-start.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/program.h"
#include "cli/view.h"
#include "cli/vm-channel.h"
#include "cli/vm-clock.h"
#include "cli/vm-launch.h"
#include "cli/vm-probe.h"
#include "cli/vm-progress.h"
#include "cli/vm-request.h"
#include "cli/vm-state.h"
#include "cli/vm-stop.h"
#include "cli/vm-view.h"
#include "loop/loop.h"

#define LOOK_MS 50 /* between looks at what tells nothing by itself: a socket to come, the console's log */
#define PROBE_PAUSE_MS 150
#define CONSOLE_LOOK 16384 /* bytes of the console's output that are looked at */

struct start {
        struct session *session;
        const struct vm *vm;
        enum vm_goal goal;
        bool or_started;
        struct vm_progress progress;
        struct program
                program; /* vmhost until it has detached itself; pidfd -1 when it has, or was not needed */
        struct vm_channel *events;
        struct vm_probe probe;
        uint64_t next_probe; /* loop_now */
        uint16_t port; /* for ssh; 0: not known yet */
        uint64_t deadline; /* to reach the goal */
        bool hosted; /* by a vmhost that was there */
        bool ended; /* the VM has */
        int failure; /* of the events */
        int stop_fd; /* borrowed; -1 for none, or when it has become readable */
        bool interrupted; /* it has */
};

static void start_deinit(struct start *start) {
        program_deinit(&start->program);
        vm_channel_free(start->events);
        vm_probe_end(&start->probe);
}

int vm_goal_parse(const char *word, enum vm_goal *ret) {
        static const char *const words[] = {
                [VM_GOAL_STARTED] = "started",
                [VM_GOAL_ADDRESS] = "address",
                [VM_GOAL_SSH] = "ssh",
                [VM_GOAL_RUNNING] = "running",
        };

        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                if (text_equal(word, words[i])) {
                        *ret = (enum vm_goal)i;
                        return 0;
                }
        return -EINVAL;
}

static bool is_reached(const struct start *start) {
        switch (start->goal) {
        case VM_GOAL_STARTED:
                return start->program.pidfd < 0 && vm_progress_has(&start->progress, VM_STEP_QEMU);
        case VM_GOAL_ADDRESS:
                return vm_progress_has(&start->progress, VM_STEP_ADDRESS);
        case VM_GOAL_SSH:
                return vm_progress_has(&start->progress, VM_STEP_SSH);
        case VM_GOAL_RUNNING:
                return vm_progress_has(&start->progress, VM_STEP_BOOTED);
        }
        return true;
}

/* A step begins: those before it are done. */
static void take_step(struct start *start, const char *step) {
        if (text_equal(step, "forwards") || text_equal(step, "qemu"))
                vm_progress_reach(&start->progress, VM_STEP_NETWORK);
        if (text_equal(step, "qemu"))
                vm_progress_reach(&start->progress, VM_STEP_FORWARDS);
}

static void take_phase(struct start *start, const char *phase) {
        static const char *const live[] = { "booting", "running", "paused", "io-error" };

        for (size_t i = 0; i < ARRAY_SIZE(live); i++)
                if (text_equal(phase, live[i]))
                        vm_progress_reach(&start->progress, VM_STEP_QEMU);
        if (text_equal(phase, "running"))
                vm_progress_reach(&start->progress, VM_STEP_BOOTED);
}

static void take_event(struct start *start, const json_t *event) {
        const char *name = view_string(event, "event");

        if (text_equal(name, "step"))
                take_step(start, view_string(event, "step"));
        else if (text_equal(name, "end"))
                start->ended = true;
        else if (text_equal(name, "restart"))
                start->ended = false;
        else if (text_equal(name, "phase"))
                take_phase(start, view_string(event, "phase"));
}

/* No events come, any more or yet. */
static void take_silence(struct start *start) {
        enum vm_presence presence = vm_presence(start->vm->directory);

        /* A new vmhost has its socket a moment after its start; it may be one from before that closed. */
        if (start->program.pidfd >= 0)
                return;
        if (presence == VM_PRESENCE_NONE)
                start->ended = true;
        else if (presence == VM_PRESENCE_ORPHAN)
                start->failure = vm_not_running(start->session, start->vm);
}

static void take_events(struct start *start) {
        if (!start->events && vm_channel_watch(&start->events, start->vm->directory, "events") < 0) {
                take_silence(start);
                return;
        }
        for (;;) {
                json_auto_t *event = NULL;
                int r = vm_channel_next(start->events, &event);

                if (r == 0)
                        return;
                if (r == -EREMOTEIO)
                        start->failure = vm_watch_failed(start->session, start->vm, start->events, r);
                if (r < 0) {
                        start->events = vm_channel_free(start->events);
                        if (!start->failure)
                                take_silence(start);
                        return;
                }
                take_event(start, event);
        }
}

static void look_at_console(struct start *start) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        _cleanup_fd_ int fd = -1;
        ssize_t n;

        /* QEMU begins its log anew, just before it runs. */
        if (!vm_progress_has(&start->progress, VM_STEP_QEMU) ||
            vm_progress_has(&start->progress, VM_STEP_KERNEL))
                return;
        path = vm_path(start->vm, VM_CONSOLE_LOG);
        text = malloc(CONSOLE_LOOK);
        fd = path && text ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        n = fd >= 0 ? read(fd, text, CONSOLE_LOOK) : -1;
        if (n > 0)
                vm_progress_look_at_console(&start->progress, text, (size_t)n);
}

/* 0, also when there is nothing to be known yet, or -errno where there never will. */
static int look_through_forward(struct start *start) {
        json_auto_t *request = NULL, *info = NULL;

        if (start->goal != VM_GOAL_ADDRESS && start->goal != VM_GOAL_SSH)
                return 0;
        if (start->port == 0 && vm_progress_has(&start->progress, VM_STEP_QEMU)) {
                request = json_pack("{s:s}", "method", "info");
                if (vm_channel_ask(start->vm->directory, request, VM_REQUEST_TIMEOUT_MS, &info) == 1 &&
                    view_string(info, "state")[0]) {
                        start->port = (uint16_t)view_integer(info, "ssh_port");
                        if (start->port == 0 && start->or_started) {
                                start->goal = VM_GOAL_STARTED;
                                return 0;
                        }
                        if (start->port == 0)
                                return error_set(
                                        &start->session->error, -ENOTSUP,
                                        "VM %s runs, and cannot be waited for: it has no port for ssh, "
                                        "through which that is seen",
                                        start->vm->name);
                }
        }
        if (start->port == 0)
                return 0;
        if (start->probe.fd < 0 && loop_now() >= start->next_probe &&
            vm_probe_begin(&start->probe, start->port) < 0)
                start->next_probe = vm_clock_in_ms(PROBE_PAUSE_MS);
        if (start->probe.fd < 0)
                return 0;
        switch (vm_probe_step(&start->probe)) {
        case VM_PROBE_PENDING:
                return 0;
        case VM_PROBE_SSH:
                vm_progress_reach(&start->progress, VM_STEP_ADDRESS);
                vm_progress_reach(&start->progress, VM_STEP_SSH);
                break;
        case VM_PROBE_ADDRESS:
                vm_progress_reach(&start->progress, VM_STEP_ADDRESS);
                break;
        case VM_PROBE_NOTHING:
                break;
        }
        start->next_probe = vm_clock_in_ms(PROBE_PAUSE_MS);
        return 0;
}

/* 1 when the program has ended, else 0. */
static int wait_for_more(struct start *start) {
        struct pollfd pollfds[] = {
                { .fd = start->program.pidfd, .events = POLLIN },
                { .fd = start->events ? vm_channel_fd(start->events) : -1, .events = POLLIN },
                { .fd = start->probe.fd, .events = POLLIN },
                { .fd = start->stop_fd, .events = POLLIN },
        };
        int left = vm_clock_left_ms(start->deadline);

        if (poll(pollfds, ARRAY_SIZE(pollfds), left < LOOK_MS ? left : LOOK_MS) < 0)
                return 0;
        if (pollfds[3].revents) {
                start->interrupted = true;
                start->stop_fd = -1;
        }
        return pollfds[0].revents != 0;
}

static int fail_late(struct start *start, unsigned timeout_s) {
        char line[VM_VIEW_LINE_SIZE];
        json_auto_t *end = NULL;

        if (!start->ended)
                return error_set(&start->session->error, -ETIMEDOUT,
                                 "VM %s is not that far after %u s; it goes on\n"
                                 "`berth vm console %s` shows what it is doing",
                                 start->vm->name, timeout_s, start->vm->name);
        end = vm_last_end(start->vm);
        return error_set(&start->session->error, -EIO,
                         "VM %s ended: %s\n"
                         "`berth vm logs %s` shows its console",
                         start->vm->name, end ? vm_view_end(end, line) : "the reason is not known",
                         start->vm->name);
}

static bool is_gone(int code) {
        return code == -ENOENT || code == -ECONNREFUSED || code == -EPIPE;
}

/* A stop is for good: what is to run comes after it. 0 when it is over, or is to be looked at again. */
static int wait_for_stop(struct start *start) {
        _cleanup_(vm_channel_freep) struct vm_channel *channel = NULL;
        const struct vm *vm = start->vm;
        json_auto_t *reply = NULL;
        int r;

        if (start->progress.shown)
                fprintf(stderr, "berth: %s is being stopped, and is started after that\n", vm->name);
        r = vm_channel_watch(&channel, vm->directory, "wait");
        if (r == 0)
                r = vm_channel_wait(channel, start->deadline, &reply);
        if (r == -ETIMEDOUT)
                return error_set(&start->session->error, r,
                                 "VM %s is being stopped, and that is not over; it is not started\n"
                                 "`berth vm show %s` tells how far it is, `berth vm kill %s` ends it at once",
                                 vm->name, vm->name, vm->name);
        if (r == -EREMOTEIO)
                poll(NULL, 0, LOOK_MS);
        return r < 0 && r != -EREMOTEIO && !is_gone(r) ? vm_request_failed(start->session, vm, r) : 0;
}

/* Joins the vmhost that is there, or starts one. */
static int begin(struct start *start) {
        json_auto_t *request = json_pack("{s:s}", "method", "status");

        start->ended = false;
        for (;;) {
                json_auto_t *reply = NULL;
                int r;

                start->hosted = vm_presence(start->vm->directory) == VM_PRESENCE_HOSTED;
                if (!start->hosted)
                        return vm_launch(start->session, start->vm, &start->program);
                r = vm_channel_ask(start->vm->directory, request, VM_REQUEST_TIMEOUT_MS, &reply);
                if (r == 1 && !text_equal(view_string(reply, "phase"), "stopping"))
                        return 0;
                if (r == 1)
                        r = wait_for_stop(start);
                else if (!is_gone(r) || vm_clock_left_ms(start->deadline) == 0)
                        r = vm_request_failed(start->session, start->vm, r);
                else
                        poll(NULL, 0, LOOK_MS); /* it went in this moment */
                if (r < 0 && !is_gone(r))
                        return r;
        }
}

/* What became of ours. Where another was there first it is joined; it may not listen yet, or be on its end.
 */
static int take_launch(struct start *start) {
        int r = vm_launch_finish(start->session, start->vm, &start->program);

        program_deinit(&start->program);
        start->ended = false;
        if (r == 0)
                vm_progress_reach(&start->progress, VM_STEP_QEMU);
        if (r != -EALREADY || vm_clock_left_ms(start->deadline) == 0)
                return r;
        start->session->error = ERROR_INIT;
        if (vm_presence(start->vm->directory) != VM_PRESENCE_HOSTED)
                poll(NULL, 0, LOOK_MS);
        return begin(start);
}

static int follow(struct start *start, const struct vm_start_order *order) {
        for (;;) {
                int r = look_through_forward(start);

                if (r < 0)
                        return r;
                /* Sooner, a vmhost on its way would not be found, and go on. */
                if (start->interrupted &&
                    (start->program.pidfd < 0 || vm_presence(start->vm->directory) == VM_PRESENCE_HOSTED))
                        return error_set(&start->session->error, -EINTR, "interrupted");
                take_events(start);
                if (start->failure)
                        return start->failure;
                look_at_console(start);
                if (is_reached(start))
                        return 0;
                if ((start->ended && start->program.pidfd < 0) || vm_clock_left_ms(start->deadline) == 0)
                        return fail_late(start, order->timeout_s);
                if (wait_for_more(start) == 0)
                        continue;
                /* What it said before it detached itself, before its word that all is well. */
                take_events(start);
                r = take_launch(start);
                if (r < 0)
                        return r;
        }
}

int vm_start(struct session *session, const struct vm *vm, const struct vm_start_order *order,
             json_t **ret_steps) {
        _cleanup_(start_deinit) struct start start = {
                .session = session,
                .vm = vm,
                .goal = order->goal,
                .or_started = order->or_started,
                .stop_fd = order->stop_fd,
                .program = PROGRAM_INIT,
                .probe = VM_PROBE_INIT,
                .deadline = vm_clock_in_ms((uint64_t)order->timeout_s * 1000),
        };
        int r;

        vm_progress_begin(&start.progress, order->shown);
        r = begin(&start);
        if (r == 0)
                r = follow(&start, order);
        if (r < 0)
                return r;
        *ret_steps = vm_progress_describe(&start.progress);
        return *ret_steps ? !start.hosted : error_set(&session->error, -ENOMEM, "out of memory");
}
