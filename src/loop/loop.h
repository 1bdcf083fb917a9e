/* The event loop: file descriptors, timers, signals and children over one level-triggered epoll. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <sys/types.h>
#include <sys/wait.h>

/*
 * A source is one thing to wait for. Its handler returns 0, or a negative errno, which ends the loop with that
 * value. Within a handler any source may be freed, its own too: the events that were already fetched for a freed
 * source are dropped. All ready sources of a wait are handled before the next wait, timers after all others: a deadline
 * has passed only for what did not come.
 */
struct loop;
struct source;

typedef int (*source_fd_fn)(struct source *source, int fd, uint32_t events, void *data);
typedef int (*source_timer_fn)(struct source *source, void *data);
typedef int (*source_signal_fn)(struct source *source, const struct signalfd_siginfo *info, void *data);
/* `info` is what waitid(2) gave, or si_pid 0 where the process is not our child and merely ended. */
typedef int (*source_child_fn)(struct source *source, const siginfo_t *info, void *data);

int loop_new(struct loop **ret);
/* Frees the loop, and its sources with it. Returns NULL. */
struct loop *loop_free(struct loop *loop);
void loop_freep(struct loop **loop);

/* Until loop_exit, or a handler's negative return: that value. */
int loop_run(struct loop *loop);
/* Ends loop_run with `code` after the handler that runs now. */
void loop_exit(struct loop *loop, int code);
/* CLOCK_MONOTONIC in microseconds. */
uint64_t loop_now(void);

/* fd is borrowed and must outlive the source. events are EPOLLIN, EPOLLOUT...; EPOLLHUP and EPOLLERR come always. */
int loop_add_fd(struct loop *loop, struct source **ret, int fd, uint32_t events, source_fd_fn fn, void *data);
/* Changes what an fd source waits for. 0 or -errno. */
int source_set_events(struct source *source, uint32_t events);

/* A timer on CLOCK_MONOTONIC, not running at first; it fires once for each source_arm. */
int loop_add_timer(struct loop *loop, struct source **ret, source_timer_fn fn, void *data);
/* Fires `microseconds` from now; sets anew a timer that runs. */
void source_arm(struct source *source, uint64_t microseconds);
void source_disarm(struct source *source);

/* Blocks the signal for the process and handles it here. The mask is inherited over exec: children reset it. */
int loop_add_signal(struct loop *loop, struct source **ret, int signal, source_signal_fn fn, void *data);

/* Fires once, when the process ends, and reaps it if it is our child. pidfd is consumed, on failure too. */
int loop_add_child(struct loop *loop, struct source **ret, int consume_pidfd, source_child_fn fn, void *data);

/* NULL is fine. Returns NULL. */
struct source *source_free(struct source *source);
void source_freep(struct source **source);
