#include "vmhost/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "vmhost/console.h"
#include "vmhost/qemu.h"

#define STACK_SIZE (256 * 1024) /* bytes; the default's 8 MiB of address space count against some limits */
#define DONE 0xff /* on the pipe, behind the steps */

/* Who may still decide. */
enum owner { OPEN, COMMITTED, ABANDONED };

/* Belongs to the thread until it reports DONE, but for `source` and `progress`; once abandoned, to the thread
 * alone. */
struct launch {
        struct configuration *configuration; /* a reference: its owner may go before the thread */
        uint16_t preferred_ssh_port;
        char *directory, *name;
        struct session *session;
        struct launch_result result;
        _Atomic int owner;
        int report; /* the thread's end of the pipe */

        struct source *source; /* of the loop's end */
        int progress;
        pthread_t thread;
        const struct launch_handlers *handlers;
        void *data;
};

static const char *const step_names[] = {
        [LAUNCH_NETWORKS] = "networks",
        [LAUNCH_FORWARDS] = "forwards",
        [LAUNCH_QEMU] = "qemu",
};

const char *launch_step_name(enum launch_step step) {
        return step_names[step];
}

static void launch_destroy(struct launch *launch) {
        fd_close(launch->report);
        fd_close(launch->progress);
        configuration_free(launch->configuration);
        session_free(launch->session);
        free(launch->directory);
        free(launch->name);
        free(launch);
}

static void report(struct launch *launch, unsigned char byte) {
        /* A pipe with room for thousands takes a byte at once, or the reader is gone and nobody cares. */
        ssize_t n = write(launch->report, &byte, 1);
        (void)n;
}

/* The leases of a session outlive its QEMU; where they are gone all the same, from the start. A session that
 * is handed back has all its forwards: the next launch takes them for granted. */
static int get_networks(struct launch *launch, struct error *error) {
        const struct configuration *configuration = launch->configuration;
        int r;

        if (launch->session) {
                r = session_renew(launch->session, configuration, launch->name, error);
                if (r != -ENOTCONN && r != -ECONNRESET)
                        return r;
                launch->session = session_free(launch->session);
        }
        r = session_open(&launch->session, configuration, launch->name, error);
        if (r < 0)
                return r;
        report(launch, LAUNCH_FORWARDS);
        r = session_forward_all(launch->session, configuration, launch->preferred_ssh_port, error);
        if (r < 0)
                launch->session = session_free(launch->session);
        return r;
}

/* From here on nobody gives up any more. */
static bool commit(void *data) {
        struct launch *launch = data;
        int expected = OPEN;

        return atomic_compare_exchange_strong(&launch->owner, &expected, COMMITTED);
}

static int launch_run(struct launch *launch) {
        struct launch_result *result = &launch->result;
        int r;

        report(launch, LAUNCH_NETWORKS);
        r = get_networks(launch, &result->error);
        if (r < 0)
                return r;
        r = console_begin_run(launch->directory);
        if (r < 0)
                return error_errno(&result->error, r, "cannot begin a log of the console");
        report(launch, LAUNCH_QEMU);
        result->pidfd = qemu_spawn(launch->configuration, launch->session, launch->directory, launch->name, commit,
                                   launch, &result->pid, &result->error);
        if (result->pidfd < 0)
                return result->pidfd;
        session_handed_over(launch->session);
        return 0;
}

static void *launch_thread(void *data) {
        struct launch *launch = data;
        int expected = OPEN;

        launch->result.code = launch_run(launch);
        /* A failure before the commitment is for the loop too, if it still waits. */
        if (!atomic_compare_exchange_strong(&launch->owner, &expected, COMMITTED) && expected == ABANDONED) {
                launch->progress = -1; /* the loop's, who closes it */
                launch_destroy(launch);
        } else {
                report(launch, DONE);
        }
        return NULL;
}

/* The thread is over, or about to be. */
static void hand_over(struct launch *launch) {
        struct launch_result result;

        pthread_join(launch->thread, NULL);
        result = launch->result;
        result.session = steal_ptr(launch->session);
        launch->source = source_free(launch->source);
        const struct launch_handlers *handlers = launch->handlers;
        void *data = launch->data;
        launch_destroy(launch);
        handlers->on_done(&result, data);
}

static int on_progress(struct source *source, int fd, uint32_t events, void *data) {
        struct launch *launch = data;
        unsigned char byte;

        if (read(fd, &byte, 1) != 1)
                return 0;
        if (byte == DONE)
                hand_over(launch);
        else
                launch->handlers->on_step((enum launch_step)byte, launch->data);
        return 0;
}

static int start_thread(struct launch *launch) {
        pthread_attr_t attributes;
        int r;

        r = pthread_attr_init(&attributes);
        if (r != 0)
                return -r;
        r = pthread_attr_setstacksize(&attributes, STACK_SIZE);
        if (r == 0)
                r = pthread_create(&launch->thread, &attributes, launch_thread, launch);
        pthread_attr_destroy(&attributes);
        return -r;
}

int launch_begin(struct launch **ret, struct loop *loop, const struct launch_settings *settings,
                 struct session *consume_session, const struct launch_handlers *handlers, void *data) {
        struct launch *launch = calloc(1, sizeof(*launch));
        int fds[2] = { -1, -1 }, r = -ENOMEM;

        if (!launch) {
                session_free(consume_session);
                return -ENOMEM;
        }
        launch->configuration = configuration_ref(settings->configuration);
        launch->preferred_ssh_port = settings->preferred_ssh_port;
        launch->session = consume_session;
        launch->handlers = handlers;
        launch->data = data;
        launch->result.pidfd = -1;
        launch->directory = strdup(settings->directory);
        launch->name = strdup(settings->name);
        if (launch->directory && launch->name)
                r = pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : 0;
        launch->progress = fds[0];
        launch->report = fds[1];
        if (r == 0)
                r = loop_add_fd(loop, &launch->source, launch->progress, EPOLLIN, on_progress, launch);
        if (r == 0)
                r = start_thread(launch);
        if (r < 0) {
                source_free(launch->source);
                launch_destroy(launch);
                return r;
        }
        *ret = launch;
        return 0;
}

bool launch_abandon(struct launch *launch) {
        /* Taken out first: once it is abandoned, the launch is the thread's, and may be gone. */
        pthread_t thread = launch->thread;
        struct source *source = launch->source;
        int progress = launch->progress, expected = OPEN;

        if (!atomic_compare_exchange_strong(&launch->owner, &expected, ABANDONED))
                return false;
        source_free(source);
        fd_close(progress);
        pthread_detach(thread);
        return true;
}
