/* State: what a VM's next vmhost must know, in state.json. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmhost/phase.h"

#define STATE_FILE "state.json"
#define STATE_BAD ".bad" /* behind that: where one is kept that is no JSON */

/*
 * The file is written whole, by rename. What is new in it need not reach the disk for the sake of adoption:
 * the page cache outlives a killed process, and a machine that went down has no QEMU to adopt. The wish to be
 * stopped and the record of an end do, and are synced. What is saved later must not undo that: its content is
 * on the disk before it takes the name.
 */
struct state {
        char *path;
        char *name, *backend;
        enum phase phase;
        bool wanted_running; /* false from a deliberate stop on, until the next start */
        uint64_t restarts; /* by the policy, since the last deliberate start */
        uint16_t ssh_port; /* that the VM had last, to have it again; 0 for none */
        json_t *run; /* the controller's facts about what runs; NULL when nothing does */
        json_t *last_end; /* END of the last run, or NULL */
};

/*
 * Reads the file of a VM's directory. Where there is none, the state is that of a VM that never ran; so it is
 * where it is no JSON, which is moved aside then, and `error` has a text (for the log). 0 or -errno: one that
 * cannot be read may tell of a VM that runs.
 */
int state_load(struct state *ret, const char *directory, const char *name, const char *backend,
               struct error *error);
void state_deinit(struct state *state);
/* 0 or -errno; then the file is as it was. */
int state_save(const struct state *state, bool durable, struct error *error);
