/* Stop: the stages by which a VM is ended, within one budget. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "loop/loop.h"

/*
 * The plan for a budget B. R = B / 4, at most 3 s, is kept back for the stages that ask the guest nothing:
 *
 *   0              AGENT     the guest agent is asked; at most (B - R) / 4 and 2 s for an answer
 *   no answer, or
 *   (B - R) / 2    ACPI      the power button, pressed again and again: a guest that still boots misses one
 *   B - R          QUIT      QEMU is told to end, which flushes its disks
 *   B - R / 2      SIGTERM   the same, for a QEMU whose QMP does not answer
 *   B              SIGKILL
 *
 * A forced stop is QUIT at once, SIGTERM after 700 ms, SIGKILL after 1.5 s, or all of it in proportion within
 * what a stop that runs has left; forcing it once more is SIGKILL at once. So whatever comes while a stop
 * runs can only bring its end nearer. The object ends nothing itself: it calls `fn` for each stage when it
 * begins, and for each press of the button; whoever owns it frees it when the VM has ended.
 */
enum stop_stage { STOP_NONE, STOP_AGENT, STOP_ACPI, STOP_QUIT, STOP_SIGTERM, STOP_SIGKILL };

struct stop;

/* False: this stage cannot be had, and the next one takes its place now (of interest for AGENT only). */
typedef bool (*stop_fn)(enum stop_stage stage, void *data);

int stop_new(struct stop **ret, struct loop *loop, stop_fn fn, void *data);
struct stop *stop_free(struct stop *stop);

/* Calls `fn` for the first stage before it returns. */
void stop_begin(struct stop *stop, uint64_t budget_ms);
void stop_force(struct stop *stop);
/* What became of the agent: it took the order, or gave no answer of use (then ACPI begins). */
void stop_agent_answered(struct stop *stop, bool accepted);

bool stop_is_running(const struct stop *stop);
bool stop_is_forced(const struct stop *stop);
enum stop_stage stop_get_stage(const struct stop *stop);
const char *stop_stage_name(enum stop_stage stage);
int stop_stage_parse(const char *name, enum stop_stage *ret);
/* {"stage","forced","budget_ms","left_ms","presses"}, or NULL (no stop runs, or no memory). */
json_t *stop_describe(const struct stop *stop);
