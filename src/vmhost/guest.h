/* Guest: what QMP tells of the guest, as phases, events and evidence. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "loop/loop.h"
#include "vmhost/end.h"
#include "vmhost/phase.h"

/*
 * A guest tells little of itself. It has booted when its agent opens its port; one without an agent is taken
 * to have booted GUEST_BOOT after its processors began to run. A reset begins anew.
 *
 * When the host has no room for what the guest writes, QEMU pauses it (werror=stop); the guest here waits for
 * room (space.h) and lets it go on. For any other error of a disk somebody must look first, and
 * then let it go on by guest_cont.
 */
#define GUEST_BOOT 30000000U /* microseconds */

struct guest;

struct guest_handlers {
        void (*on_phase)(enum phase phase, const char *message, void *data);
        void (*on_event)(const char *event, json_t *consume_details, void *data);
        /* Now and then while QEMU answers. */
        void (*on_alive)(void *data);
};

/* Where a guest stands when we come to it. */
enum guest_origin { GUEST_NEW, GUEST_ADOPTED_BOOTING, GUEST_ADOPTED_BOOTED };

/* QEMU's sockets are in `directory`; `disk` is a path on the file system that its disk is on. */
int guest_new(struct guest **ret, struct loop *loop, const char *directory, const char *disk,
              enum guest_origin origin, const struct guest_handlers *handlers, void *data);
struct guest *guest_free(struct guest *guest);

bool guest_was_ready(const struct guest *guest); /* QEMU has answered once */
bool guest_has_booted(const struct guest *guest);
bool guest_may_have_agent(const struct guest *guest);
/* loop_now, or 0 while QEMU answers. */
uint64_t guest_unresponsive_since(const struct guest *guest);
/* Adds "resets", "agent" (whether one is there; null: not known) and, where there are any, "shares_lost" (the
 * tags of those whose virtiofsd has ended). */
void guest_describe(const struct guest *guest, json_t *object);

/* Lets one go on that is paused, for whatever reason; -errno where it cannot. */
int guest_cont(struct guest *guest, struct error *error);
/* Lets a paused one go on, that it may shut down. */
void guest_wake(struct guest *guest);
/* Presses the power button, unless the guest shuts down already or QEMU does not answer. */
void guest_press_power(struct guest *guest);
/* False where QEMU does not answer. */
bool guest_quit(struct guest *guest);

/* When QEMU has ended: its last events, and what they say about the end (strings are borrowed from the
 * guest). */
void guest_drain(struct guest *guest);
void guest_testify(const struct guest *guest, struct end_evidence *evidence);
