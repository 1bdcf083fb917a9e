/* Pulse: whether a vmhost that is waited for still answers. */
#include "cli/vm-pulse.h"

#include <errno.h>

#include "base/memory.h"
#include "cli/vm-clock.h"

void vm_pulse_begin(struct vm_pulse *pulse, const char *directory) {
        *pulse = (struct vm_pulse){
                .directory = directory,
                .next = vm_clock_in_ms(VM_PULSE_INTERVAL_MS),
        };
}

void vm_pulse_end(struct vm_pulse *pulse) {
        pulse->question = vm_channel_free(pulse->question);
}

/* Whether what was asked last is still owed. */
static bool is_owed(struct vm_pulse *pulse) {
        json_auto_t *answer = NULL;

        if (!pulse->question)
                return pulse->refused;
        /* To be turned out, as the oldest of too many is, is a sign of life too. */
        if (vm_channel_next(pulse->question, &answer) == 0)
                return true;
        pulse->question = vm_channel_free(pulse->question);
        return false;
}

static void ask(struct vm_pulse *pulse) {
        json_auto_t *request = json_pack("{s:s}", "method", "status");

        pulse->refused = request && vm_channel_open(&pulse->question, pulse->directory, request) == -EAGAIN;
}

bool vm_pulse_look(struct vm_pulse *pulse) {
        if (vm_clock_left_ms(pulse->next) > 0)
                return pulse->n_missed >= VM_PULSE_LOOKS;
        pulse->next = vm_clock_in_ms(VM_PULSE_INTERVAL_MS);
        if (is_owed(pulse)) {
                pulse->n_missed++;
        } else {
                pulse->n_missed = 0;
                pulse->since_ms = vm_clock_wall_ms();
        }
        /* One question is enough: a frozen vmhost's queue is not to be filled. */
        if (!pulse->question)
                ask(pulse);
        return pulse->n_missed >= VM_PULSE_LOOKS;
}

int vm_pulse_wait(struct vm_channel *channel, const char *directory, uint64_t deadline, json_t **ret,
                  int64_t *ret_since_ms) {
        _cleanup_(vm_pulse_end) struct vm_pulse pulse;

        vm_pulse_begin(&pulse, directory);
        for (;;) {
                int r = vm_channel_wait(channel, pulse.next < deadline ? pulse.next : deadline, ret);

                if (r != -ETIMEDOUT || vm_clock_left_ms(deadline) == 0)
                        return r;
                if (vm_pulse_look(&pulse)) {
                        *ret_since_ms = pulse.since_ms;
                        return -EAGAIN;
                }
        }
}
