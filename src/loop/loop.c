/* The event loop: file descriptors, timers, signals and children over one level-triggered epoll. */
#include "loop/loop.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/memory.h"

/*
 * epoll's user data is the source. Events are fetched in batches, and a handler may free a source that has an
 * event further on in the batch: source_free clears those. Timers share one timerfd, set to the earliest of
 * them just before a wait (and only when that changed); the timerfd is registered with the loop itself as
 * user data.
 */
enum source_kind { SOURCE_FD, SOURCE_TIMER, SOURCE_SIGNAL, SOURCE_CHILD };

struct source {
        struct loop *loop;
        struct list sources; /* in loop->sources */
        enum source_kind kind;
        int fd; /* borrowed for SOURCE_FD, else owned; -1 for timers and for children that have ended */
        void *data;
        union {
                source_fd_fn fd_fn;
                source_timer_fn timer_fn;
                source_signal_fn signal_fn;
                source_child_fn child_fn;
        };
        struct list timers; /* in loop->timers while armed */
        uint64_t deadline; /* microseconds */
};

struct loop {
        int epoll_fd;
        int timer_fd;
        uint64_t timer_set; /* what timer_fd is set to in microseconds, 0 when it is not */
        struct list sources;
        struct list timers; /* by deadline; equal ones in the order in which they were armed */
        struct epoll_event events[64]; /* the batch that is being handled */
        int n_events;
        bool running;
        bool exiting;
        int exit_code;
};

uint64_t loop_now(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int watch(struct loop *loop, int fd, uint32_t events, void *user) {
        struct epoll_event event = { .events = events, .data.ptr = user };

        return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int loop_new(struct loop **ret) {
        _cleanup_(loop_freep) struct loop *loop = calloc(1, sizeof(*loop));
        int r;

        if (!loop)
                return -ENOMEM;
        loop->timer_fd = -1;
        list_init(&loop->sources);
        list_init(&loop->timers);
        loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (loop->epoll_fd < 0)
                return -errno;
        loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (loop->timer_fd < 0)
                return -errno;
        r = watch(loop, loop->timer_fd, EPOLLIN, loop);
        if (r < 0)
                return r;
        *ret = steal_ptr(loop);
        return 0;
}

struct loop *loop_free(struct loop *loop) {
        if (!loop)
                return NULL;
        list_for_each(struct source, source, &loop->sources, sources)
                source_free(source);
        fd_close(loop->timer_fd);
        fd_close(loop->epoll_fd);
        free(loop);
        return NULL;
}

void loop_freep(struct loop **loop) {
        *loop = loop_free(*loop);
}

void loop_exit(struct loop *loop, int code) {
        loop->exiting = true;
        loop->exit_code = code;
}

/* A new source without a handler; fd as in struct source. NULL when memory is short. */
static struct source *source_new(struct loop *loop, enum source_kind kind, int fd, void *data) {
        struct source *source = calloc(1, sizeof(*source));

        if (!source)
                return NULL;
        source->loop = loop;
        source->kind = kind;
        source->fd = fd;
        source->data = data;
        list_init(&source->timers);
        list_append(&loop->sources, &source->sources);
        return source;
}

struct source *source_free(struct source *source) {
        struct loop *loop;

        if (!source)
                return NULL;

        loop = source->loop;
        for (int i = 0; i < loop->n_events; i++)
                if (loop->events[i].data.ptr == source)
                        loop->events[i].data.ptr = NULL;
        /* Explicitly, as epoll follows the open file and not the number: a copy of the fd elsewhere would
         * keep the registration, and its pointer, alive (epoll(7)). */
        if (source->fd >= 0)
                epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
        if (source->kind != SOURCE_FD)
                fd_close(source->fd);
        list_unlink(&source->timers);
        list_unlink(&source->sources);
        free(source);
        return NULL;
}

void source_freep(struct source **source) {
        *source = source_free(*source);
}

int loop_add_fd(struct loop *loop, struct source **ret, int fd, uint32_t events, source_fd_fn fn,
                void *data) {
        _cleanup_(source_freep) struct source *source = NULL;
        int r;

        source = source_new(loop, SOURCE_FD, -1, data);
        if (!source)
                return -ENOMEM;
        source->fd_fn = fn;
        r = watch(loop, fd, events, source);
        if (r < 0)
                return r;
        source->fd = fd; /* only now: freeing must not undo another source's registration */
        *ret = steal_ptr(source);
        return 0;
}

int source_set_events(struct source *source, uint32_t events) {
        struct epoll_event event = { .events = events, .data.ptr = source };

        assert(source->kind == SOURCE_FD);
        return epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) < 0 ? -errno : 0;
}

int loop_add_timer(struct loop *loop, struct source **ret, source_timer_fn fn, void *data) {
        struct source *source = source_new(loop, SOURCE_TIMER, -1, data);

        if (!source)
                return -ENOMEM;
        source->timer_fn = fn;
        *ret = source;
        return 0;
}

void source_arm(struct source *source, uint64_t microseconds) {
        struct list *after;

        assert(source->kind == SOURCE_TIMER);
        if (__builtin_add_overflow(loop_now(), microseconds, &source->deadline))
                source->deadline = UINT64_MAX;
        list_unlink(&source->timers);

        /* From the back: most timers of a program have the same length and go there. */
        for (after = source->loop->timers.prev; after != &source->loop->timers; after = after->prev)
                if (container_of(after, struct source, timers)->deadline <= source->deadline)
                        break;
        list_append(after->next, &source->timers);
}

void source_disarm(struct source *source) {
        assert(source->kind == SOURCE_TIMER);
        list_unlink(&source->timers);
}

int loop_add_signal(struct loop *loop, struct source **ret, int signal, source_signal_fn fn, void *data) {
        _cleanup_(source_freep) struct source *source = NULL;
        sigset_t set;
        int r;

        source = source_new(loop, SOURCE_SIGNAL, -1, data);
        if (!source)
                return -ENOMEM;
        source->signal_fn = fn;

        sigemptyset(&set);
        if (sigaddset(&set, signal) < 0)
                return -errno;
        source->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (source->fd < 0)
                return -errno;
        r = watch(loop, source->fd, EPOLLIN, source);
        if (r < 0)
                return r;
        /* Last, so that a failure above leaves the mask alone. Freeing the source does not unblock: a signal
         * that is pending then would be delivered the default way, which for most is death. */
        r = pthread_sigmask(SIG_BLOCK, &set, NULL);
        if (r != 0)
                return -r;
        *ret = steal_ptr(source);
        return 0;
}

int loop_add_child(struct loop *loop, struct source **ret, int consume_pidfd, source_child_fn fn,
                   void *data) {
        _cleanup_(source_freep) struct source *source = NULL;
        int r;

        source = source_new(loop, SOURCE_CHILD, consume_pidfd, data);
        if (!source) {
                fd_close(consume_pidfd);
                return -ENOMEM;
        }
        source->child_fn = fn;
        r = watch(loop, source->fd, EPOLLIN, source);
        if (r < 0)
                return r;
        *ret = steal_ptr(source);
        return 0;
}

static int dispatch_signal(struct source *source) {
        struct signalfd_siginfo info;
        ssize_t n = read(source->fd, &info, sizeof(info));

        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        return source->signal_fn(source, &info, source->data);
}

static int dispatch_child(struct source *source) {
        siginfo_t info = {};
        int r;

        do
                r = waitid(P_PIDFD, (id_t)source->fd, &info, WEXITED | WNOHANG);
        while (r < 0 && errno == EINTR);
        if (r < 0) {
                if (errno != ECHILD)
                        return -errno;
                info = (siginfo_t){}; /* another's child, or reaped elsewhere: only that it ended is known */
        } else if (info.si_pid == 0)
                return 0; /* not over yet */

        /* Closing a pidfd ends its registration only when there is no copy of it. */
        epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
        source->fd = fd_close(source->fd);
        return source->child_fn(source, &info, source->data);
}

/* Runs what is due. It is set aside first: a handler that arms a timer anew, even for now, waits for the next
 * turn and starves no other source, while one that frees or disarms a timer takes it out of either list. */
static int dispatch_timers(struct loop *loop) {
        struct list due = LIST_INIT(due);
        uint64_t now = loop_now(), expirations;
        int r = 0;

        if (read(loop->timer_fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN && errno != EINTR)
                return -errno;
        loop->timer_set = 0;

        list_for_each(struct source, source, &loop->timers, timers) {
                if (source->deadline > now)
                        break;
                list_unlink(&source->timers);
                list_append(&due, &source->timers);
        }
        while (!list_empty(&due) && r >= 0 && !loop->exiting) {
                struct source *source = container_of(due.next, struct source, timers);

                list_unlink(&source->timers);
                r = source->timer_fn(source, source->data);
        }
        /* Where the loop ends early, the rest stay due. */
        while (!list_empty(&due)) {
                struct source *source = container_of(due.prev, struct source, timers);

                list_unlink(&source->timers);
                list_append(loop->timers.next, &source->timers);
        }
        return r;
}

/* Sets the timerfd to the first deadline, if it is not set to it already. */
static int set_timer(struct loop *loop) {
        uint64_t first = 0;
        struct itimerspec spec = {};

        if (!list_empty(&loop->timers))
                first = container_of(loop->timers.next, struct source, timers)->deadline;
        if (first == loop->timer_set)
                return 0;
        spec.it_value.tv_sec = (time_t)(first / 1000000);
        spec.it_value.tv_nsec = (long)(first % 1000000) * 1000;
        if (timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
                return -errno;
        loop->timer_set = first;
        return 0;
}

static int dispatch(const struct epoll_event *event) {
        struct source *source = event->data.ptr;

        if (source->kind == SOURCE_FD)
                return source->fd_fn(source, source->fd, event->events, source->data);
        if (source->kind == SOURCE_SIGNAL)
                return dispatch_signal(source);
        return dispatch_child(source);
}

/* One wait and all that came of it, timers last: where the process stood still for a while, what came in meanwhile is
 * looked at before the deadline that it meets. */
static int turn(struct loop *loop) {
        bool due = false;
        int r;

        r = set_timer(loop);
        if (r < 0)
                return r;
        do
                r = epoll_wait(loop->epoll_fd, loop->events, (int)ARRAY_SIZE(loop->events), -1);
        while (r < 0 && errno == EINTR);
        if (r < 0)
                return -errno;

        loop->n_events = r;
        r = 0;
        for (int i = 0; i < loop->n_events && r >= 0 && !loop->exiting; i++) {
                struct epoll_event event = loop->events[i];

                if (event.data.ptr == loop)
                        due = true;
                else if (event.data.ptr)
                        r = dispatch(&event);
        }
        loop->n_events = 0;
        return due && r >= 0 && !loop->exiting ? dispatch_timers(loop) : r;
}

int loop_run(struct loop *loop) {
        int r = 0;

        assert(!loop->running);
        loop->running = true;
        while (!loop->exiting && r >= 0)
                r = turn(loop);
        loop->running = false;

        if (r >= 0)
                r = loop->exit_code;
        loop->exiting = false;
        loop->exit_code = 0;
        return r;
}
