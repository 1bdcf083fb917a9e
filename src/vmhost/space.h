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
 */
#define SPACE_ENOUGH (64ULL * 1024 * 1024) /* bytes */

struct space;

typedef void (*space_fn)(void *data);

/* `fn` is called once for each space_wait, within a second of there being room. The path is copied. */
int space_new(struct space **ret, struct loop *loop, const char *path, space_fn fn, void *data);
struct space *space_free(struct space *space);
void space_wait(struct space *space);
void space_stop_waiting(struct space *space);
/* What there is, for people: "12 MiB free on the file system of PATH". Returns buffer. */
char *space_describe(const struct space *space, char *buffer, size_t size);
