/* Run: one QEMU, from when its process is there until it has ended. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "loop/loop.h"
#include "vmhost/configuration.h"
#include "vmhost/end.h"
#include "vmhost/guest.h"
#include "vmhost/identity.h"
#include "vmhost/phase.h"
#include "vmhost/stop.h"

/*
 * A run watches the process, asks it and its guest to end (it carries out the stages of stop.h), and when it
 * has ended puts together what is known of that end. The VM's networks, console and record are its owner's.
 */
struct run;

struct run_handlers {
        /* As the guest's (guest.h). */
        void (*on_phase)(enum phase phase, const char *message, void *data);
        void (*on_event)(const char *event, json_t *consume_details, void *data);
        /* Once, of a QEMU that is adopted: it has answered, or is known not to. */
        void (*on_attended)(void *data);
        /* A stage of a stop has begun; STOP_ACPI again for each press of the button. */
        void (*on_stage)(enum stop_stage stage, void *data);
        /* Once, and the last: the run's owner may free it here. `end` is the handler's, to be deinited. */
        void (*on_ended)(struct end *end, void *data);
};

/* What is borrowed outlives the run. */
struct run_settings {
        const char *directory; /* the VM's, borrowed */
        const struct configuration *configuration; /* borrowed; NULL: none could be read */
        struct identity identity; /* of QEMU's process */
        enum guest_origin origin;
};

/* The pidfd is of the same process, and consumed, on failure too. 0 or -errno. */
int run_new(struct run **ret, struct loop *loop, const struct run_settings *settings, int consume_pidfd,
            const struct run_handlers *handlers, void *data, struct error *error);
/* Leaves the process alone. */
struct run *run_free(struct run *run);

void run_stop(struct run *run, uint64_t budget_ms);
void run_force_stop(struct run *run);
/* Lets a guest go on that is paused; -errno where it cannot. */
int run_cont(struct run *run, struct error *error);

const struct identity *run_identity(const struct run *run);
bool run_has_booted(const struct run *run);
/* loop_now, or 0 while QEMU answers. */
uint64_t run_unresponsive_since(const struct run *run);
/* Adds "stop", while there is one, and what guest_describe does. */
void run_describe(const struct run *run, json_t *object);
