/* Identity: which process is meant, over restarts of whoever remembers it. */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

/* A pid is used again; a pid with its start time is one process of one boot, and the boot id names the boot.
 */
struct identity {
        pid_t pid; /* 0: none */
        uint64_t start_time; /* ticks since boot */
        char boot_id[37];
};

/* Of a process that runs: 0 or -errno (-ESRCH). */
int identity_of(pid_t pid, struct identity *ret);
/*
 * The process itself: a pidfd, or -ESRCH where it is not there any more or another has its pid. The pidfd is
 * opened before the start time is compared, and the process is seen to live after: so it is that process's.
 */
int identity_open(const struct identity *identity);

/* Adds "pid", "start_time" and "boot_id" to an object: 0 or -ENOMEM. */
int identity_write(const struct identity *identity, json_t *object);
/* 0 or -EINVAL. */
int identity_read(json_t *object, struct identity *ret);
