/* Runs one after the other: the restart policy, what overrides it, and what an earlier vmhost left behind. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "fixture.h"
#include "harness.h"
#include "vmhost/supervisor.h"

/* ---- The policy, over the socket ---- */

/* Follows the events from now on. */
static int follow(const struct host *host) {
        int fd = host_connect(host);

        assert_int_equal(send(fd, "{\"method\":\"events\"}", 19, 0), 19);
        return fd;
}

/* Reads until this text has come. */
static void await(int fd, const char *text) {
        char buffer[16384];
        size_t size = 0;

        do {
                ssize_t n = read(fd, buffer + size, sizeof(buffer) - 1 - size);
                assert_true(n > 0);
                size += (size_t)n;
                buffer[size] = '\0';
        } while (!strstr(buffer, text));
}

static void test_restarts(void **state) {
        struct host host;

        host_start(&host, FAKE_CRASH, RESTART_POLICY_ON_FAILURE);
        int fd = follow(&host);
        await(fd, "{\"event\":\"restart\"");
        char *reply = host_ask(&host, "{\"method\":\"status\"}");
        assert_non_null(strstr(
                reply, "{\"ok\":false,\"error\":\"the VM ended (QEMU ended by itself with exit code 1) "
                       "and is started again in "));
        free(reply);
        /* Once more; how often by now, and how long the pauses are, the machine's speed and test-record say.
         */
        await(fd, "\"phase\":\"running\"");
        await(fd, "{\"event\":\"restart\"");
        reply = host_ask(&host, "{\"method\":\"show\"}");
        assert_non_null(strstr(reply, "\"restart\":{\"policy\":\"on-failure\",\"count\":"));
        assert_non_null(strstr(reply, ",\"left_ms\":"));
        assert_non_null(strstr(reply, "\"last_end\":{\"at\":"));
        free(reply);

        /* A stop now is for good, and has nothing to wait for. */
        reply = host_ask(&host, "{\"method\":\"stop\"}");
        assert_string_equal(reply, "{\"ok\":true,\"state\":\"stopping\"}\n");
        free(reply);
        host_wait(&host);
        close(fd);
        host_deinit(&host);
}

static void test_always(void **state) {
        struct host host;

        /* A stop that was asked for is no end that the policy is for. */
        host_start(&host, FAKE_PROMPT, RESTART_POLICY_ALWAYS);
        host_await(&host, "\"running\"");
        free(host_ask(&host, "{\"method\":\"stop\"}"));
        host_wait(&host);
        host_deinit(&host);
}

/* ---- What was left behind, with a controller of the test's own ---- */

struct stage {
        char *directory;
        struct loop *loop;
        struct supervisor *supervisor;
        struct controller controller;
        int adopts, starts; /* the answers of adopt and start */
        unsigned n_adopted, n_started, n_up, n_finished;
        char events[512];
};

static int stub_start(struct controller *controller, struct error *error) {
        struct stage *stage = container_of(controller, struct stage, controller);

        if (stage->starts < 0)
                return error_set(error, stage->starts, "not now");
        stage->n_started++;
        controller_set(controller, PHASE_PREPARING, "%s", "");
        loop_exit(stage->loop, 0);
        return 0;
}

static int stub_adopt(struct controller *controller, json_t *run, struct error *error) {
        struct stage *stage = container_of(controller, struct stage, controller);

        stage->n_adopted++;
        assert_int_equal(json_integer_value(json_object_get(run, "pid")), 7);
        if (stage->adopts < 0)
                return error_set(error, stage->adopts, "not there");
        controller_resume(controller, PHASE_RUNNING, loop_now());
        return 0;
}

static void stub_stop(struct controller *controller, uint64_t budget_ms) {
}
static void stub_force_stop(struct controller *controller) {
}
static int stub_cont(struct controller *controller, struct error *error) {
        return 0;
}
static uint16_t stub_ssh_port(const struct controller *controller) {
        return 0;
}
static int stub_pid(const struct controller *controller) {
        return 7;
}
static json_t *stub_facts(const struct controller *controller) {
        return phase_is_live(controller->phase) ? json_pack("{s:i}", "pid", 7) : NULL;
}
static json_t *stub_addresses(const struct controller *controller) {
        return NULL;
}
static void stub_describe(const struct controller *controller, json_t *object) {
}
static struct controller *stub_free(struct controller *controller) {
        return NULL;
}

static const struct controller_ops stub_ops = {
        "stub",        stub_start, stub_adopt, stub_stop,      stub_force_stop, stub_cont,
        stub_ssh_port, stub_pid,   stub_facts, stub_addresses, stub_describe,   stub_free,
};

static void on_event(const json_t *event, void *data) {
        struct stage *stage = data;

        strcat(stage->events, json_string_value(json_object_get(event, "event")));
        strcat(stage->events, " ");
}
static void on_up(void *data) {
        ((struct stage *)data)->n_up++;
}
static void on_finished(void *data) {
        ((struct stage *)data)->n_finished++;
}

static const struct supervisor_listener listener = { on_event, on_up, on_finished };

static int begin_with(struct stage *stage, const char *left_behind, int adopts, int starts, bool adopt_only) {
        const struct supervisor_settings settings = {
                .name = "web",
                .policy = adopt_only ? RESTART_POLICY_ALWAYS : RESTART_POLICY_NO,
                .adopt_only = adopt_only,
        };

        *stage = (struct stage){ .adopts = adopts, .starts = starts, .directory = harness_make_directory() };
        struct supervisor_settings with = settings;
        with.directory = stage->directory;
        char *path = text_format("%s/state.json", stage->directory);
        assert_int_equal(file_write(path, left_behind, strlen(left_behind), 0600, false, NULL), 0);
        free(path);
        assert_int_equal(loop_new(&stage->loop), 0);
        assert_int_equal(
                supervisor_new(&stage->supervisor, stage->loop, &with, "stub", &listener, stage, NULL), 0);
        controller_init(&stage->controller, &stub_ops, supervisor_controller_listener(), stage->supervisor);
        return supervisor_begin(stage->supervisor, &stage->controller, NULL);
}

static int begin(struct stage *stage, const char *left_behind, int adopts) {
        return begin_with(stage, left_behind, adopts, 0, false);
}

static char *state_text(const struct stage *stage) {
        char *path = text_format("%s/state.json", stage->directory), *text;
        size_t size;

        assert_int_equal(file_read(path, 65536, &text, &size, NULL), 0);
        free(path);
        return text;
}

static void end(struct stage *stage) {
        supervisor_free(stage->supervisor);
        loop_free(stage->loop);
        harness_remove_directory(stage->directory);
}

#define LEFT_RUN "{\"phase\":\"running\",\"wanted\":\"stopped\",\"run\":{\"pid\":7},\"restarts\":4}"

static void test_adoption(void **state) {
        struct stage stage;

        assert_int_equal(begin(&stage, LEFT_RUN, 0), 0);
        assert_int_equal(stage.n_adopted, 1);
        assert_int_equal(stage.n_started, 0);
        assert_int_equal(stage.n_up, 0); /* it has not said anything yet */
        supervisor_controller_listener()->on_attended(stage.supervisor);
        assert_int_equal(stage.n_up, 1);
        /* Whoever starts a vmhost wants the VM to run. */
        char *text = state_text(&stage);
        assert_non_null(strstr(text, "\"wanted\": \"running\""));
        assert_non_null(strstr(text, "\"pid\": 7"));
        free(text);
        end(&stage);
}

static void test_lost_run(void **state) {
        struct stage stage;

        assert_int_equal(begin(&stage, LEFT_RUN, -ESRCH), 0);
        assert_int_equal(stage.n_adopted, 1);
        assert_int_equal(stage.n_started, 1);
        char *text = state_text(&stage);
        assert_non_null(strstr(text, "\"by\": \"unknown\""));
        assert_non_null(strstr(text, "\"run\": null"));
        assert_non_null(strstr(text, "\"restarts\": 0"));
        free(text);
        end(&stage);

        /* One that dies as it is adopted has its own end on record, and the start is made. */
        assert_int_equal(begin(&stage, LEFT_RUN, 0), 0);
        struct end dead = { .by = END_BY_CRASH,
                            .panicked = true,
                            .reason = strdup("the guest's kernel panicked") };
        controller_end(&stage.controller, &dead);
        assert_int_equal(stage.n_started, 0);
        assert_int_equal(loop_run(stage.loop), 0);
        assert_int_equal(stage.n_started, 1);
        assert_int_equal(stage.n_finished, 0);
        assert_non_null(strstr(stage.events, "end "));
        text = state_text(&stage);
        assert_non_null(strstr(text, "\"by\": \"crash\""));
        assert_non_null(strstr(text, "\"panicked\": true"));
        assert_non_null(strstr(text, "\"reason\": \"the guest's kernel panicked\""));
        assert_non_null(strstr(text, "\"run\": null"));
        free(text);
        end(&stage);

        /* What cannot be told apart is not started a second time. */
        assert_int_equal(begin(&stage, LEFT_RUN, -EMFILE), -EMFILE);
        assert_int_equal(stage.n_started, 0);
        end(&stage);
}

/* A start that is refused at once leaves the record as it was: there may be a VM that it tells of. */
static void test_refused_start(void **state) {
        static const char left[] = "{\"wanted\":\"stopped\",\"restarts\":4}";
        struct stage stage;

        assert_int_equal(begin_with(&stage, left, 0, -EADDRINUSE, false), -EADDRINUSE);
        char *text = state_text(&stage);
        assert_string_equal(text, left);
        free(text);
        end(&stage);
}

/* Who only wants what runs gets no other: an end that was lost is recorded, and that is all. */
static void test_adopt_only(void **state) {
        struct stage stage;

        assert_int_equal(begin_with(&stage, LEFT_RUN, 0, 0, true), 0);
        supervisor_controller_listener()->on_attended(stage.supervisor);
        assert_int_equal(stage.n_up, 1);
        end(&stage);

        assert_int_equal(begin_with(&stage, "{}", 0, 0, true), -ESRCH);
        assert_int_equal(stage.n_started, 0);
        end(&stage);

        assert_int_equal(begin_with(&stage, LEFT_RUN, -ESRCH, 0, true), -ESRCH);
        assert_int_equal(stage.n_started, 0);
        char *text = state_text(&stage);
        assert_non_null(strstr(text, "\"by\": \"unknown\""));
        assert_non_null(strstr(text, "\"run\": null"));
        free(text);
        end(&stage);

        assert_int_equal(begin_with(&stage, LEFT_RUN, 0, 0, true), 0);
        struct end dead = { .by = END_BY_CRASH };
        controller_end(&stage.controller, &dead);
        assert_int_equal(stage.n_finished, 1);
        assert_int_equal(stage.n_up, 0);
        text = state_text(&stage);
        assert_non_null(strstr(text, "\"by\": \"crash\""));
        free(text);
        end(&stage);
}

/* A VM that never came up is its starter's affair: no policy, one end. */
static void test_failed_start(void **state) {
        struct stage stage;

        assert_int_equal(begin(&stage, "{}", 0), 0);
        struct end dead = { .by = END_BY_HOST };
        controller_end(&stage.controller, &dead);
        assert_int_equal(stage.n_finished, 1);
        assert_int_equal(stage.n_up, 0);
        assert_string_equal(stage.events, "phase phase end ");
        end(&stage);
}

HARNESS_MAIN(cmocka_unit_test(test_restarts), cmocka_unit_test(test_always), cmocka_unit_test(test_adoption),
             cmocka_unit_test(test_lost_run), cmocka_unit_test(test_adopt_only),
             cmocka_unit_test(test_refused_start), cmocka_unit_test(test_failed_start))
