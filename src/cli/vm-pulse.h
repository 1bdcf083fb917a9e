/* Pulse: whether a vmhost that is waited for still answers. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/vm-channel.h"

/*
 * Who waits for a VM's end, or follows its events, may hear nothing for days, and a vmhost that was frozen
 * meanwhile looks no different. So it is asked for its status besides, on a connection of its own, and is
 * silent when VM_PULSE_LOOKS looks in a row found no answer. Looks are counted, and not time: when the
 * machine slept, or the one who waits was stopped, much time has passed and nobody was silent.
 */
#define VM_PULSE_INTERVAL_MS 2000 /* between two looks */
#define VM_PULSE_LOOKS 5

struct vm_pulse {
        const char *directory; /* the VM's, borrowed */
        struct vm_channel *question; /* that is on its way, or NULL */
        bool refused; /* it could not even be asked: its queue is full */
        unsigned n_missed; /* looks in a row that found no answer */
        int64_t since_ms; /* wall clock: when it was asked what it has not answered */
        uint64_t next; /* loop_now: the next look is due */
};

/* Asks nothing yet. */
void vm_pulse_begin(struct vm_pulse *pulse, const char *directory);
void vm_pulse_end(struct vm_pulse *pulse);
/* To be called when `next` has come; sooner it does nothing. Never waits. True as long as the vmhost is
 * silent; one that is not there any more is not: whoever waits for it sees that. */
bool vm_pulse_look(struct vm_pulse *pulse);

/* vm_channel_wait with a pulse beside it: the same, or -EAGAIN when vmhost is silent, and *ret_since_ms since
 * when. */
int vm_pulse_wait(struct vm_channel *channel, const char *directory, uint64_t deadline, json_t **ret,
                  int64_t *ret_since_ms);
