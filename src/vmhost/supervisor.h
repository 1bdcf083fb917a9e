/* Supervisor: a VM's runs, one after the other, and what is kept of them. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "loop/loop.h"
#include "vmhost/controller.h"
#include "vmhost/restart.h"

#define SUPERVISOR_STOP_MS 30000 /* the budget of a stop that names none */

struct supervisor;

struct supervisor_settings {
        const char *directory, *name; /* copied */
        enum restart_policy policy;
        bool adopt_only; /* a run that is lost is recorded, and none is started */
        uint64_t stop_budget_ms; /* of a stop that vmhost itself begins, told by a signal */
};

struct supervisor_listener {
        /* An object {"event", "at", ...}, borrowed. */
        void (*on_event)(const json_t *event, void *data);
        /* Once: a run has come as far as a live QEMU, or one was adopted. */
        void (*on_up)(void *data);
        /* Once, and the last: no run, and none to come. The record is on the disk. */
        void (*on_finished)(void *data);
};

/* Reads what the vmhost before left behind. */
int supervisor_new(struct supervisor **ret, struct loop *loop, const struct supervisor_settings *settings,
                   const char *backend, const struct supervisor_listener *listener, void *data,
                   struct error *error);
struct supervisor *supervisor_free(struct supervisor *supervisor);

/* A controller is made with these as its listener and data; it is consumed by supervisor_begin. */
const struct controller_listener *supervisor_controller_listener(void);
/* The port for ssh that the VM had in its last run, 0 for none. */
uint16_t supervisor_last_ssh_port(const struct supervisor *supervisor);
/* Whether there is a run to adopt, for all that the file says. */
bool supervisor_has_run(const struct supervisor *supervisor);

/* Adopts what runs, or starts. From now on the VM is wanted to run. With adopt_only -ESRCH where nothing
 * runs. */
int supervisor_begin(struct supervisor *supervisor, struct controller *consume_controller,
                     struct error *error);
/* 0: the budget that the settings name. From now on the VM is wanted to be stopped, and that is on the disk
 * first. */
void supervisor_stop(struct supervisor *supervisor, uint64_t budget_ms);
void supervisor_force_stop(struct supervisor *supervisor);

/* Lets a VM that is paused go on; -errno where it is not, or cannot. */
int supervisor_cont(struct supervisor *supervisor, struct error *error);

const struct controller *supervisor_get_controller(const struct supervisor *supervisor);
/* While a restart is waited for: how long still. */
bool supervisor_is_waiting(const struct supervisor *supervisor, uint64_t *ret_left_ms);
/* The reason of the last end, for people; "" when there was none. Borrowed. */
const char *supervisor_end_reason(const struct supervisor *supervisor);
/* END of the last run, borrowed, or NULL. */
const json_t *supervisor_last_end(const struct supervisor *supervisor);
/* Adds all that the control socket's `show` tells beyond `status` and `info`. */
void supervisor_describe(const struct supervisor *supervisor, json_t *object);
/* The event that says where the VM stands now: a new reference. */
json_t *supervisor_event_now(const struct supervisor *supervisor);
