/* Controller: one VM, whatever runs it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmhost/end.h"
#include "vmhost/phase.h"

/*
 * What the reference calls a VMController, in a loop's terms: its Wait is the listener's on_ended, and
 * nothing waits. A controller outlives the runs of its VM: started, or given one that runs already (adopt);
 * it ends; it may be started again. on_ended comes exactly once for each run that start or adopt began, also
 * for one that did not come far, and never from within a call of an operation.
 */
struct controller;

struct controller_listener {
        /* The phase or the message changed. */
        void (*on_phase)(void *data);
        /* What `facts` gives is another, and is to be kept. */
        void (*on_facts)(void *data);
        /* Once after adopt: the VM's process has answered, or is known to be one that does not. */
        void (*on_attended)(void *data);
        /* Something worth telling: "reset", "shutdown", "panic", "watchdog", "io-error", "powerdown",
         * "agent", "share-lost", "step", "unresponsive", "responsive", "stage". `details` is an object,
         * stolen, or NULL. */
        void (*on_event)(const char *event, json_t *consume_details, void *data);
        /* `end` is the listener's from then on, to be deinited. */
        void (*on_ended)(struct end *end, void *data);
};

struct controller_ops {
        const char *backend; /* "qemu" */
        /* Begins a run: 0, or -errno where no end will follow. */
        int (*start)(struct controller *controller, struct error *error);
        /* Takes over a run from its facts. -ESRCH: it has ended. */
        int (*adopt)(struct controller *controller, json_t *run, struct error *error);
        void (*stop)(struct controller *controller, uint64_t budget_ms);
        void (*force_stop)(struct controller *controller);
        /* Lets a VM that is PAUSED or in IO_ERROR go on; the phase follows. -errno where it cannot. */
        int (*cont)(struct controller *controller, struct error *error);
        /* The port of the host that leads to the VM's ssh; 0 while there is none. */
        uint16_t (*ssh_port)(const struct controller *controller);
        /* The VM's process; 0 while there is none. */
        int (*pid)(const struct controller *controller);
        /* What adopt takes: a new reference, or NULL (nothing runs, or no memory). */
        json_t *(*facts)(const struct controller *controller);
        /* The VM's addresses, an array of texts: a new reference, or NULL. */
        json_t *(*addresses)(const struct controller *controller);
        /* Adds what is to be shown besides to an object. */
        void (*describe)(const struct controller *controller, json_t *object);
        struct controller *(*free)(struct controller *controller);
};

struct controller {
        const struct controller_ops *ops;
        const struct controller_listener *listener;
        void *data; /* of the listener */
        enum phase phase;
        uint64_t since; /* loop_now at which the phase began */
        uint64_t begun; /* loop_now at which the run began; 0 when there is none */
        uint64_t unresponsive_since; /* loop_now of what has no answer; 0 while the VM's process answers */
        char message[256]; /* why it is in this phase, for people; "" where there is nothing to say */
};

void controller_init(struct controller *controller, const struct controller_ops *ops,
                     const struct controller_listener *listener, void *data);
/* Goes to a phase, or stays and says something new, and tells the listener. An arrow that phase.h does not
 * have is not gone: what comes late about a VM that ends already changes nothing. */
void controller_set(struct controller *controller, enum phase phase, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* A run that is taken over: the phase and the beginning are those that it has, without a word to the
 * listener. */
void controller_resume(struct controller *controller, enum phase phase, uint64_t begun);
/* Goes to STOPPED or FAILED, as the end is, and hands it over; fills its times. */
void controller_end(struct controller *controller, struct end *consume_end);
void controller_emit(struct controller *controller, const char *event, json_t *consume_details);
uint64_t controller_uptime_ms(const struct controller *controller);
struct controller *controller_free(struct controller *controller);
