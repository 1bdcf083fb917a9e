/* Launch: the slow way to a running QEMU, beside the loop. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "loop/loop.h"
#include "vmhost/configuration.h"
#include "vmhost/session.h"

/*
 * Getting networks means waiting for a broker, which may have to be started itself, and for a network to be
 * made: up to half a minute, while the control socket must answer. So a launch runs in a thread of its own.
 * It shares nothing with the loop: it is given what it works on, reports steps and its end over a pipe, and
 * hands all back.
 *
 * Giving up: launch_abandon stops waiting, and the thread undoes what it did once it notices; it is refused
 * from the moment on when QEMU is about to be executed, so that no QEMU is left that nobody knows of.
 */
struct launch;

enum launch_step { LAUNCH_NETWORKS, LAUNCH_FORWARDS, LAUNCH_QEMU };

struct launch_settings {
        const struct configuration *configuration; /* it takes a reference */
        const char *directory, *name; /* copied */
        uint16_t preferred_ssh_port;
};

struct launch_result {
        int code; /* 0 or -errno, then error has the text */
        struct error error;
        struct session *session; /* owned by the receiver; NULL where there is none */
        int pidfd; /* of QEMU, owned by the receiver */
        pid_t pid;
};

struct launch_handlers {
        void (*on_step)(enum launch_step step, void *data);
        /* Once; the launch is freed behind it. */
        void (*on_done)(struct launch_result *result, void *data);
};

/* `consume_session`, which may be NULL, is one of a run before, to be renewed; it is consumed, on failure
 * too. */
int launch_begin(struct launch **ret, struct loop *loop, const struct launch_settings *settings,
                 struct session *consume_session, const struct launch_handlers *handlers, void *data);
/* True: no handler is called any more, and the launch is gone. False: too late, on_done comes in a moment. */
bool launch_abandon(struct launch *launch);

const char *launch_step_name(enum launch_step step);
