#include "vmhost/controller-fake.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"

struct fake {
        struct controller base;
        struct loop *loop;
        struct source *timer; /* what happens next, from the loop and not from within a call */
        struct stop *stop; /* of the run; NULL without one */
        enum fake_behaviour behaviour;
        uint16_t ssh_port;
};

static const char *const words[] = {
        [FAKE_PROMPT] = "prompt", [FAKE_DEAF] = "deaf", [FAKE_CRASH] = "crash",
        [FAKE_PAUSED] = "paused", [FAKE_SLOW] = "slow", [FAKE_FROZEN] = "frozen",
};

int fake_behaviour_parse(const char *word, enum fake_behaviour *ret) {
        for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
                if (text_equal(word, words[i])) {
                        *ret = (enum fake_behaviour)i;
                        return 0;
                }
        return -EINVAL;
}

static struct fake *fake_of(const struct controller *controller) {
        return container_of((struct controller *)controller, struct fake, base);
}

static void end_run(struct fake *fake) {
        struct end end = END_INIT;
        const struct end_evidence evidence = {
                .child = true,
                .exit_code = fake->behaviour == FAKE_CRASH ? 1 : 0,
                .stage = stop_get_stage(fake->stop),
        };

        fake->stop = stop_free(fake->stop);
        if (end_judge(&end, &evidence) < 0)
                end.by = END_BY_CRASH;
        controller_end(&fake->base, &end);
}

static bool on_stage(enum stop_stage stage, void *data) {
        struct fake *fake = data;

        if (stage == STOP_AGENT)
                return false; /* nobody is there to be one */
        if (stage == STOP_SIGKILL || fake->behaviour != FAKE_DEAF || stop_is_forced(fake->stop))
                source_arm(fake->timer, 0);
        controller_set(&fake->base, PHASE_STOPPING, "stage %s", stop_stage_name(stage));
        return true;
}

static int on_timer(struct source *source, void *data) {
        struct fake *fake = data;

        if (fake->base.phase == PHASE_PREPARING) {
                controller_set(&fake->base, PHASE_BOOTING, "%s", "");
                controller_set(&fake->base, PHASE_RUNNING, "%s", "");
                if (fake->behaviour == FAKE_CRASH)
                        source_arm(fake->timer, 0);
                if (fake->behaviour == FAKE_PAUSED)
                        controller_set(&fake->base, PHASE_PAUSED, "the fake is paused");
        } else {
                end_run(fake);
        }
        return 0;
}

static int fake_start(struct controller *controller, struct error *error) {
        struct fake *fake = fake_of(controller);
        int r = stop_new(&fake->stop, fake->loop, on_stage, fake);

        if (r < 0)
                return error_errno(error, r, "cannot start");
        controller_set(controller, PHASE_PREPARING, "the fake is prepared");
        if (fake->behaviour != FAKE_SLOW)
                source_arm(fake->timer, 0);
        return 0;
}

static int fake_adopt(struct controller *controller, json_t *run, struct error *error) {
        return error_set(error, -ESRCH, "a fake ends with its process");
}

static void fake_stop(struct controller *controller, uint64_t budget_ms) {
        struct fake *fake = fake_of(controller);

        if (fake->stop)
                stop_begin(fake->stop, budget_ms);
}

static void fake_force_stop(struct controller *controller) {
        struct fake *fake = fake_of(controller);

        if (fake->stop)
                stop_force(fake->stop);
}

static int fake_cont(struct controller *controller, struct error *error) {
        controller_set(controller, PHASE_RUNNING, "%s", "");
        return 0;
}

static uint16_t fake_ssh_port(const struct controller *controller) {
        return fake_of(controller)->ssh_port;
}

static int fake_pid(const struct controller *controller) {
        while (fake_of(controller)->behaviour == FAKE_FROZEN)
                pause();
        return 0;
}

static json_t *fake_facts(const struct controller *controller) {
        return NULL;
}

static json_t *fake_addresses(const struct controller *controller) {
        return NULL;
}

static void fake_describe(const struct controller *controller, json_t *object) {
        const struct fake *fake = fake_of(controller);

        if (fake->stop)
                json_object_set_new(object, "stop", stop_describe(fake->stop));
}

static struct controller *fake_free(struct controller *controller) {
        struct fake *fake = fake_of(controller);

        stop_free(fake->stop);
        source_free(fake->timer);
        free(fake);
        return NULL;
}

static const struct controller_ops ops = {
        .backend = "fake",
        .start = fake_start,
        .adopt = fake_adopt,
        .stop = fake_stop,
        .force_stop = fake_force_stop,
        .cont = fake_cont,
        .ssh_port = fake_ssh_port,
        .pid = fake_pid,
        .facts = fake_facts,
        .addresses = fake_addresses,
        .describe = fake_describe,
        .free = fake_free,
};

int controller_fake_new(struct controller **ret, struct loop *loop, enum fake_behaviour behaviour,
                        uint16_t ssh_port, const struct controller_listener *listener, void *data) {
        struct fake *fake = calloc(1, sizeof(*fake));
        int r;

        if (!fake)
                return -ENOMEM;
        controller_init(&fake->base, &ops, listener, data);
        fake->loop = loop;
        fake->behaviour = behaviour;
        fake->ssh_port = ssh_port;
        r = loop_add_timer(loop, &fake->timer, on_timer, fake);
        if (r < 0) {
                free(fake);
                return r;
        }
        *ret = &fake->base;
        return 0;
}
