/* Stop: ending a VM, and waiting for its end. */
#include "cli/vm-stop.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/vm-channel.h"
#include "cli/vm-clock.h"
#include "cli/vm-file.h"
#include "cli/vm-launch.h"
#include "cli/vm-request.h"
#include "cli/vm-state.h"
#include "cli/vm-view.h"

#define SLACK_MS 10000 /* beyond its budget, for a loaded machine to write the record */
#define FORCED_MS 5000 /* the budget of a stop by force */
#define LOOK_MS 1000 /* between looks at how far a stop is */

json_t *vm_last_end(const struct vm *vm) {
        json_auto_t *state = NULL;

        vm_state_load(vm->directory, &state, NULL);
        return json_incref(json_object_get(state, "last_end"));
}

/* The line on a terminal, in place of the one before; NULL wipes it. */
static void show_progress(const char *name, const json_t *reply) {
        char line[VM_VIEW_LINE_SIZE];

        fprintf(stderr, "\r\033[K");
        if (reply)
                fprintf(stderr, "%s: %s", name, vm_view_state(reply, line));
        fflush(stderr);
}

/* Waits on the channel of `wait`. 0 when the VM has ended, *ret_end as it answered; or -errno. */
static int wait_for_end(const struct vm *vm, struct vm_channel *channel, uint64_t deadline, bool quiet,
                        json_t **ret_end) {
        json_auto_t *reply = NULL, *request = json_pack("{s:s}", "method", "show");
        bool shown = false;
        int r;

        for (;;) {
                uint64_t look = vm_clock_in_ms(LOOK_MS);
                json_auto_t *state = NULL;

                r = vm_channel_wait(channel, quiet || look > deadline ? deadline : look, &reply);
                if (r != -ETIMEDOUT || vm_clock_left_ms(deadline) == 0)
                        break;
                if (vm_channel_ask(vm->directory, request, LOOK_MS / 4, &state) == 1) {
                        show_progress(vm->name, state);
                        shown = true;
                }
        }
        if (shown)
                show_progress(vm->name, NULL);
        /* A vmhost that closes without a word was killed; what became of the VM is to be seen. */
        if (r == -EPIPE && vm_presence(vm->directory) != VM_PRESENCE_ORPHAN)
                r = 0;
        if (r < 0)
                return r;
        *ret_end = json_incref(json_object_get(reply, "end"));
        return 0;
}

static int stop_hosted(struct session *session, const struct vm *vm, const struct vm_stop_order *order,
                       json_t **ret_end) {
        _cleanup_(vm_channel_freep) struct vm_channel *channel = NULL;
        json_auto_t *reply = NULL;
        json_t *members = order->force ? NULL : json_pack("{s:i}", "timeout_seconds", (int)order->timeout_s);
        uint64_t deadline;
        int r;

        /* First: the end may come before the next question. */
        r = vm_channel_watch(&channel, vm->directory, "wait");
        if (r < 0) {
                json_decref(members);
                return vm_request_failed(session, vm, r);
        }
        r = vm_request(session, vm, order->force ? "force_stop" : "stop", members, &reply);
        /* The order may wait in its socket. */
        if (r == -ETIMEDOUT) {
                const struct error silence = session->error;

                return error_set(&session->error, r, "%s\nif it goes on, it may still %s the VM",
                                 silence.text, order->force ? "kill" : "stop");
        }
        if (r < 0)
                return r;
        if (order->no_wait)
                return 1;
        deadline = vm_clock_in_ms((order->force ? FORCED_MS : (uint64_t)order->timeout_s * 1000) + SLACK_MS);
        r = wait_for_end(vm, channel, deadline, order->quiet || !isatty(STDERR_FILENO), ret_end);
        /* With too many who wait it tells nobody else. */
        if (r == -EREMOTEIO)
                r = vm_wait_gone_until(vm, deadline);
        if (r == -ETIMEDOUT)
                return error_set(&session->error, r,
                                 "VM %s has not ended within its time\n"
                                 "`berth vm show %s` tells how far it is, `berth vm kill %s` ends it at once",
                                 vm->name, vm->name, vm->name);
        if (r < 0)
                return vm_request_failed(session, vm, r);
        r = vm_wait_gone(vm, &session->error);
        if (r == 0 && !*ret_end)
                *ret_end = vm_last_end(vm);
        return r < 0 ? r : 1;
}

int vm_stop(struct session *session, const struct vm *vm, const struct vm_stop_order *order,
            json_t **ret_end) {
        struct vm_stop_order full = *order;
        int r;

        *ret_end = NULL;
        if (full.timeout_s == 0)
                full.timeout_s = vm_file_stop_timeout(vm);
        r = vm_adopt(session, vm);
        if (r < 0)
                return r;
        if (vm_presence(vm->directory) == VM_PRESENCE_NONE)
                return 0;
        return stop_hosted(session, vm, &full, ret_end);
}
