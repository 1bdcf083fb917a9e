/* Space: waits for room on the file system of a VM's disk. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "loop/loop.h"

/*
 * No event tells of room on a file system, so it is asked by a timer, and only while a VM waits for it. There
 * is room when SPACE_ENOUGH is free for us, or a fiftieth of a file system that is smaller than fifty times
 * that: a VM that went on with the next free block would stop at the one behind it.
 *
 * The file system does not tell all: a disk is full as well by a quota, on a thin volume, or elsewhere; and
 * of a block device nothing is known. Where it has room, going on is an attempt, and one that is followed by
 * a wait within SPACE_PAUSE_MAX doubles the pause before the next.
 */
#define SPACE_ENOUGH (64ULL * 1024 * 1024) /* bytes */
#define SPACE_PAUSE_MIN 500000U /* microseconds */
#define SPACE_PAUSE_MAX 60000000U

struct space;

typedef void (*space_fn)(void *data);

/* `fn` is called once for each space_wait: within a second of there being room, where there was none; else
 * after the pause. The path is copied. */
int space_new(struct space **ret, struct loop *loop, const char *path, space_fn fn, void *data);
struct space *space_free(struct space *space);
/* Nothing more where it waits already. */
void space_wait(struct space *space);
void space_stop_waiting(struct space *space);
/* While it waits, what for: "the disk is full (12 MiB free on the file system of PATH): it goes on when there
 * is room". Returns buffer. */
char *space_describe(const struct space *space, char *buffer, size_t size);
