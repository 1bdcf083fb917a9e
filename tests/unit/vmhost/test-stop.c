/* The plan of a stop: stages, their order and their times. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "harness.h"
#include "vmhost/stop.h"

struct stage {
        struct loop *loop;
        struct stop *stop;
        uint64_t begun; /* loop_now */
        char order[512]; /* names of the stages, each once in a row */
        uint64_t at[8]; /* microseconds from the beginning, by stage */
        unsigned presses, enough_presses; /* the loop ends at the latter, unless 0 */
        bool no_agent, no_quit;
        enum stop_stage last;
        /* What to do in a stage, beside noting it. */
        enum stop_stage react_in;
        void (*react)(struct stage *stage);
};

static bool on_stage(enum stop_stage what, void *data) {
        struct stage *stage = data;

        if ((what == STOP_AGENT && stage->no_agent) || (what == STOP_QUIT && stage->no_quit))
                return false;
        if (what == STOP_ACPI && ++stage->presses == stage->enough_presses)
                loop_exit(stage->loop, 0);
        if (what != stage->last) {
                strcat(stage->order, stop_stage_name(what));
                strcat(stage->order, " ");
                stage->at[what] = loop_now() - stage->begun;
                stage->last = what;
                if (stage->react && what == stage->react_in)
                        stage->react(stage);
        }
        if (what == STOP_SIGKILL)
                loop_exit(stage->loop, 0);
        return true;
}

static void setup(struct stage *stage) {
        *stage = (struct stage){ .begun = loop_now() };
        assert_int_equal(loop_new(&stage->loop), 0);
        assert_int_equal(stop_new(&stage->stop, stage->loop, on_stage, stage), 0);
        assert_false(stop_is_running(stage->stop));
        assert_null(stop_describe(stage->stop));
}

static void teardown(struct stage *stage) {
        stop_free(stage->stop);
        loop_free(stage->loop);
}

/* Not before its time; how much later is the machine's affair. */
static void assert_not_before(const struct stage *stage, enum stop_stage what, uint64_t ms) {
        assert_true(stage->at[what] >= ms * 1000);
}

static void test_whole_plan(void **state) {
        struct stage stage;

        /* 400 ms: 100 are kept back, 75 are the agent's, QUIT at 300, SIGTERM at 350. */
        setup(&stage);
        stop_begin(stage.stop, 400);
        assert_int_equal(stop_get_stage(stage.stop), STOP_AGENT);
        assert_int_equal(loop_run(stage.loop), 0);
        assert_string_equal(stage.order, "agent acpi quit sigterm sigkill ");
        assert_not_before(&stage, STOP_ACPI, 75);
        assert_not_before(&stage, STOP_QUIT, 300);
        assert_not_before(&stage, STOP_SIGTERM, 350);
        assert_not_before(&stage, STOP_SIGKILL, 400);
        teardown(&stage);
}

/* The button is pressed again and again, here each 375 ms of the six seconds that the guest has: a pause of the machine
 * leaves time for a second one. */
static void test_presses(void **state) {
        struct stage stage;

        setup(&stage);
        stage.no_agent = true;
        stage.enough_presses = 2;
        stop_begin(stage.stop, 8000);
        assert_int_equal(loop_run(stage.loop), 0);
        assert_int_equal(stop_get_stage(stage.stop), STOP_ACPI);
        assert_string_equal(stage.order, "acpi ");
        teardown(&stage);
}

static void refuse(struct stage *stage) {
        assert_int_equal(stop_get_stage(stage->stop), STOP_AGENT);
        stop_agent_answered(stage->stop, false);
        assert_int_equal(stop_get_stage(stage->stop), STOP_ACPI);
}
static void accept_order(struct stage *stage) {
        stop_agent_answered(stage->stop, true);
}
static void force(struct stage *stage) {
        stop_force(stage->stop);
}
static void hurry(struct stage *stage) {
        stop_begin(stage->stop, 40);
}

static int react_later(struct source *source, void *data) {
        struct stage *stage = data;

        stage->react(stage);
        return 0;
}

static void run_with(struct stage *stage, uint64_t budget_ms, void (*react)(struct stage *stage)) {
        struct source *timer;

        stage->react = react;
        assert_int_equal(loop_add_timer(stage->loop, &timer, react_later, stage), 0);
        stop_begin(stage->stop, budget_ms);
        source_arm(timer, 0);
        assert_int_equal(loop_run(stage->loop), 0);
        source_free(timer);
}

static void test_agent(void **state) {
        struct stage stage;

        /* None: the button at once. */
        setup(&stage);
        stage.no_agent = true;
        stop_begin(stage.stop, 60);
        assert_int_equal(stop_get_stage(stage.stop), STOP_ACPI);
        assert_int_equal(loop_run(stage.loop), 0);
        assert_string_equal(stage.order, "acpi quit sigterm sigkill ");
        teardown(&stage);

        /* One that refuses: the button then, at once. */
        setup(&stage);
        stage.react_in = STOP_NONE;
        run_with(&stage, 400, refuse);
        assert_string_equal(stage.order, "agent acpi quit sigterm sigkill ");
        teardown(&stage);

        /* One that takes the order gets half of the time that the guest has. */
        setup(&stage);
        run_with(&stage, 400, accept_order);
        assert_not_before(&stage, STOP_ACPI, 150);
        teardown(&stage);
}

static void test_force(void **state) {
        struct stage stage;

        /* Over a stop that would have taken ten minutes. */
        setup(&stage);
        stage.no_agent = true;
        run_with(&stage, 600000, force);
        assert_string_equal(stage.order, "acpi quit sigterm sigkill ");
        assert_not_before(&stage, STOP_SIGTERM, 700);
        assert_not_before(&stage, STOP_SIGKILL, 1500);
        assert_true(stop_is_forced(stage.stop));
        stop_force(stage.stop); /* and what is done is done */
        assert_int_equal(stop_get_stage(stage.stop), STOP_SIGKILL);
        teardown(&stage);

        /* Over one that had less time left: what is asked later never makes it longer. */
        setup(&stage);
        stop_begin(stage.stop, 150);
        stop_force(stage.stop);
        json_t *left = stop_describe(stage.stop);
        assert_in_range(json_integer_value(json_object_get(left, "budget_ms")), 0, 150);
        json_decref(left);
        assert_int_equal(loop_run(stage.loop), 0);
        assert_string_equal(stage.order, "agent quit sigterm sigkill ");
        teardown(&stage);

        /* Twice: no more patience. */
        setup(&stage);
        stop_force(stage.stop);
        assert_string_equal(stage.order, "quit ");
        stop_force(stage.stop);
        assert_string_equal(stage.order, "quit sigkill ");
        teardown(&stage);

        /* A QEMU that does not answer cannot be told to quit. */
        setup(&stage);
        stage.no_quit = true;
        stop_force(stage.stop);
        assert_string_equal(stage.order, "sigterm ");
        /* A graceful stop does not soften it. */
        stop_begin(stage.stop, 1);
        stop_begin(stage.stop, 600000);
        json_t *description = stop_describe(stage.stop);
        assert_int_equal(json_integer_value(json_object_get(description, "budget_ms")), 1500);
        assert_true(json_is_true(json_object_get(description, "forced")));
        json_decref(description);
        teardown(&stage);
}

static void test_again(void **state) {
        struct stage stage;
        json_t *description;

        /* The nearer end counts. */
        setup(&stage);
        stage.no_agent = true;
        run_with(&stage, 600000, hurry);
        assert_string_equal(stage.order, "acpi quit sigterm sigkill ");
        assert_not_before(&stage, STOP_SIGKILL, 40);
        teardown(&stage);

        setup(&stage);
        stop_begin(stage.stop, 1000);
        stop_begin(stage.stop, 600000);
        description = stop_describe(stage.stop);
        assert_int_equal(json_integer_value(json_object_get(description, "budget_ms")), 1000);
        assert_true(json_integer_value(json_object_get(description, "left_ms")) <= 1000);
        assert_string_equal(json_string_value(json_object_get(description, "stage")), "agent");
        json_decref(description);
        teardown(&stage);
}

HARNESS_MAIN(cmocka_unit_test(test_whole_plan), cmocka_unit_test(test_presses), cmocka_unit_test(test_agent),
             cmocka_unit_test(test_force), cmocka_unit_test(test_again))
