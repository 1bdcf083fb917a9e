/* A controller without a VM, for tests and benchmarks of all that is around one. */
#pragma once

#include "loop/loop.h"
#include "vmhost/controller.h"

enum fake_behaviour {
        FAKE_PROMPT, /* starts and stops at once */
        FAKE_DEAF, /* does not stop before its budget is over */
        FAKE_CRASH, /* ends by itself as soon as it runs */
        FAKE_PAUSED, /* is paused as soon as it runs, until it is let go on */
        FAKE_SLOW, /* stays in preparation until it is stopped */
        FAKE_FROZEN, /* the process hangs, for good, when it is asked anything */
};

/* -EINVAL for a word that is none of prompt, deaf, crash, paused, slow and frozen. */
int fake_behaviour_parse(const char *word, enum fake_behaviour *ret);
int controller_fake_new(struct controller **ret, struct loop *loop, enum fake_behaviour behaviour,
                        uint16_t ssh_port, const struct controller_listener *listener, void *data);
