#include "vmhost/stop.h"

#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/text.h"

#define MS 1000U /* microseconds */
#define RESERVE_MAX (3000 * MS)
#define AGENT_MAX (2000 * MS)
#define PRESS_MAX (1000 * MS) /* between presses of the power button */
#define PRESS_MIN (50 * MS)
#define FORCED_MAX (1500 * MS)

struct stop {
        struct source *timer;
        stop_fn fn;
        void *data;
        enum stop_stage stage;
        bool forced;
        bool agent_accepted;
        uint64_t begun, budget; /* microseconds, as all times here */
        uint64_t presses;
};

static const char *const names[] = {
        [STOP_NONE] = "none", [STOP_AGENT] = "agent",     [STOP_ACPI] = "acpi",
        [STOP_QUIT] = "quit", [STOP_SIGTERM] = "sigterm", [STOP_SIGKILL] = "sigkill",
};

static uint64_t min(uint64_t a, uint64_t b) {
        return a < b ? a : b;
}

static uint64_t reserve(const struct stop *stop) {
        return min(stop->budget / 4, RESERVE_MAX);
}

static uint64_t graceful(const struct stop *stop) {
        return stop->budget - reserve(stop);
}

/* When the stage behind this one begins, from the beginning of the stop. */
static uint64_t end_of(const struct stop *stop, enum stop_stage stage) {
        switch (stage) {
        case STOP_AGENT:
                return stop->agent_accepted ? graceful(stop) / 2 : min(graceful(stop) / 4, AGENT_MAX);
        case STOP_ACPI:
                return graceful(stop);
        case STOP_QUIT:
                return stop->forced ? stop->budget * 7 / 15 : stop->budget - reserve(stop) / 2;
        case STOP_SIGTERM:
                return stop->budget;
        default:
                return UINT64_MAX;
        }
}

static uint64_t elapsed(const struct stop *stop) {
        return loop_now() - stop->begun;
}

/* Sets the timer for what comes next: another stage, or another press within this one. */
static void plan(struct stop *stop) {
        uint64_t now = elapsed(stop), next = end_of(stop, stop->stage), press = graceful(stop) / 16;

        if (stop->stage == STOP_SIGKILL) {
                source_disarm(stop->timer);
                return;
        }
        if (stop->stage == STOP_ACPI) {
                press = press < PRESS_MIN ? PRESS_MIN : min(press, PRESS_MAX);
                next = min(next, now + press);
        }
        source_arm(stop->timer, next > now ? next - now : 0);
}

static void enter(struct stop *stop, enum stop_stage stage) {
        stop->stage = stage;
        if (stage == STOP_ACPI)
                stop->presses++;
        if (!stop->fn(stage, stop->data) && stage < STOP_SIGKILL) {
                enter(stop, stage + 1);
                return;
        }
        plan(stop);
}

static int on_timer(struct source *source, void *data) {
        struct stop *stop = data;

        if (elapsed(stop) >= end_of(stop, stop->stage))
                enter(stop, stop->stage + 1);
        else
                enter(stop, stop->stage);
        return 0;
}

int stop_new(struct stop **ret, struct loop *loop, stop_fn fn, void *data) {
        struct stop *stop = calloc(1, sizeof(*stop));
        int r;

        if (!stop)
                return -ENOMEM;
        stop->fn = fn;
        stop->data = data;
        r = loop_add_timer(loop, &stop->timer, on_timer, stop);
        if (r < 0) {
                free(stop);
                return r;
        }
        *ret = stop;
        return 0;
}

struct stop *stop_free(struct stop *stop) {
        if (stop)
                source_free(stop->timer);
        free(stop);
        return NULL;
}

void stop_begin(struct stop *stop, uint64_t budget_ms) {
        uint64_t budget = min(budget_ms, UINT32_MAX) * MS;

        if (stop->stage != STOP_NONE) {
                uint64_t nearer = elapsed(stop) + budget;
                if (!stop->forced && nearer < stop->budget) {
                        stop->budget = nearer;
                        plan(stop);
                }
                return;
        }
        stop->begun = loop_now();
        stop->budget = budget;
        enter(stop, STOP_AGENT);
}

void stop_force(struct stop *stop) {
        if (stop->stage == STOP_SIGKILL)
                return;
        if (stop->forced) {
                enter(stop, STOP_SIGKILL);
                return;
        }
        uint64_t now = loop_now(), left = FORCED_MAX;
        if (stop->stage != STOP_NONE)
                left = stop->budget > now - stop->begun ? stop->budget - (now - stop->begun) : 0;
        stop->forced = true;
        stop->begun = now;
        stop->budget = min(left, FORCED_MAX);
        /* Never back to a stage that is over already. */
        enter(stop, stop->stage > STOP_QUIT ? stop->stage : STOP_QUIT);
}

void stop_agent_answered(struct stop *stop, bool accepted) {
        if (stop->stage != STOP_AGENT)
                return;
        stop->agent_accepted = accepted;
        if (accepted)
                plan(stop);
        else
                enter(stop, STOP_ACPI);
}

bool stop_is_running(const struct stop *stop) {
        return stop->stage != STOP_NONE;
}

bool stop_is_forced(const struct stop *stop) {
        return stop->forced;
}

enum stop_stage stop_get_stage(const struct stop *stop) {
        return stop->stage;
}

const char *stop_stage_name(enum stop_stage stage) {
        return names[stage];
}

int stop_stage_parse(const char *name, enum stop_stage *ret) {
        for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
                if (text_equal(name, names[i])) {
                        *ret = (enum stop_stage)i;
                        return 0;
                }
        return -EINVAL;
}

json_t *stop_describe(const struct stop *stop) {
        if (stop->stage == STOP_NONE)
                return NULL;
        uint64_t now = elapsed(stop);
        return json_pack("{s:s, s:b, s:I, s:I, s:I}", "stage", names[stop->stage], "forced", stop->forced,
                         "budget_ms", (json_int_t)(stop->budget / MS), "left_ms",
                         (json_int_t)(stop->budget > now ? (stop->budget - now) / MS : 0), "presses",
                         (json_int_t)stop->presses);
}
