/* network/service: with real programs */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "harness.h"
#include "network/service.h"

/* Microseconds, less than any pause between two starts. */
#define MOMENT 40000

struct bench {
        struct loop *loop;
        struct service *service;
        const char *script; /* for sh; NULL: starting fails */
        unsigned spawned;
        uint64_t times[16]; /* loop_now at each start */
        char states[64]; /* the initials of the states, in order */
        char lines[256];
        size_t stop_at; /* the loop ends when so many states were entered */
        struct source *moment; /* runs out a moment after the service began to wait; NULL: of no interest */
        bool moment_is_over, started_late;
};

static int spawn(void *data, int log_fd, pid_t *ret_pid, struct error *error) {
        struct bench *bench = data;
        const char *const argv[] = { "/bin/sh", "-c", bench->script, NULL };

        if (bench->spawned < ARRAY_SIZE(bench->times))
                bench->times[bench->spawned] = loop_now();
        bench->spawned++;
        bench->started_late |= bench->moment_is_over;
        if (!bench->script)
                return error_set(error, -ENOENT, "there is no such program");
        return service_execute(NULL, argv, log_fd, ret_pid, error);
}

static bool on_line(void *data, const char *line) {
        struct bench *bench = data;

        if (strlen(bench->lines) + strlen(line) + 2 < sizeof(bench->lines)) {
                strcat(bench->lines, line);
                strcat(bench->lines, "|");
        }
        if (strcmp(line, "up") == 0)
                service_up(bench->service);
        return false;
}

static void on_changed(void *data, enum service_state state) {
        struct bench *bench = data;
        size_t n = strlen(bench->states);

        if (n + 1 < sizeof(bench->states))
                bench->states[n++] = "-SUW"[state];
        if (bench->moment && state == SERVICE_WAITING)
                source_arm(bench->moment, MOMENT);
        if (n == bench->stop_at)
                loop_exit(bench->loop, 0);
}

static const struct service_ops ops = {
        .name = "test", .spawn = spawn, .line = on_line, .changed = on_changed
};

static int on_time(struct source *source, void *data) {
        loop_exit(data, -ETIMEDOUT);
        return 0;
}

static void make(struct bench *bench, const char *script) {
        *bench = (struct bench){ .script = script };
        assert_int_equal(loop_new(&bench->loop), 0);
        assert_int_equal(service_new(&bench->service, bench->loop, &ops, bench), 0);
}

static void end(struct bench *bench) {
        service_free(bench->service);
        loop_free(bench->loop);
}

/* Until so many states were entered. */
static void run(struct bench *bench, size_t states) {
        struct source *timer;

        bench->stop_at = states;
        if (strlen(bench->states) >= states)
                return;
        assert_int_equal(loop_add_timer(bench->loop, &timer, on_time, bench->loop), 0);
        source_arm(timer, 60000000);
        assert_int_equal(loop_run(bench->loop), 0);
        source_free(timer);
}

static void kill_program(const struct bench *bench) {
        json_t *description = service_describe(bench->service);
        pid_t pid = (pid_t)json_integer_value(json_object_get(description, "pid"));

        json_decref(description);
        assert_true(pid > 1);
        assert_int_equal(kill(pid, SIGKILL), 0);
}

static int on_moment(struct source *source, void *data) {
        ((struct bench *)data)->moment_is_over = true;
        return 0;
}

static void test_up_and_back(void **state) {
        struct bench bench;

        make(&bench, "echo hello; echo up; exec sleep 1000");
        assert_int_equal(service_state(bench.service), SERVICE_STOPPED);
        service_start(bench.service);
        run(&bench, 2);
        assert_string_equal(bench.states, "SU");
        assert_string_equal(bench.lines, "hello|up|");
        assert_string_equal(service_message(bench.service), "");
        service_start(bench.service); /* it runs: nothing happens */
        assert_int_equal(bench.spawned, 1);

        /* Timers run in the order of their deadlines, however late. */
        assert_int_equal(loop_add_timer(bench.loop, &bench.moment, on_moment, &bench), 0);
        kill_program(&bench);
        run(&bench, 5);
        assert_string_equal(bench.states, "SUWSU");
        assert_false(bench.started_late); /* but at once */
        json_t *description = service_describe(bench.service);
        assert_int_equal(json_integer_value(json_object_get(description, "restarts")), 1);
        assert_string_equal(json_string_value(json_object_get(description, "state")), "up");
        json_decref(description);

        service_stop(bench.service);
        assert_string_equal(bench.states, "SUWSU-");
        source_free(bench.moment);
        end(&bench);
}

static void test_back_off(void **state) {
        struct bench bench;

        make(&bench, "echo one; echo no such interface; exit 3");
        service_start(bench.service);
        run(&bench, 11); /* five starts */
        assert_string_equal(bench.states, "SWSWSWSWSWS");
        assert_string_equal(service_message(bench.service), "no such interface");
        /* At once, then 50, 100, 200 ms later. */
        assert_in_range(bench.times[2] - bench.times[1], 50000, 60000000);
        assert_in_range(bench.times[3] - bench.times[2], 100000, 60000000);
        assert_in_range(bench.times[4] - bench.times[3], 200000, 60000000);
        assert_in_range(bench.times[5] - bench.times[4], 400000, 60000000);
        end(&bench);
}

static void test_cannot_start(void **state) {
        struct bench bench;

        make(&bench, NULL);
        service_start(bench.service);
        run(&bench, 4);
        assert_string_equal(bench.states, "SWSW");
        assert_string_equal(service_message(bench.service), "there is no such program");
        bench.script = "echo up; exec sleep 1000";
        run(&bench, 6);
        assert_string_equal(bench.states, "SWSWSU");
        end(&bench);
}

/* The last line is the message though it has no newline, and an endless one is cut. */
static void test_lines(void **state) {
        struct bench bench;

        make(&bench, "printf 'a\\n\\nb'; exit 1");
        service_start(bench.service);
        run(&bench, 2);
        assert_string_equal(bench.lines, "a|b|");
        assert_string_equal(service_message(bench.service), "b");
        end(&bench);

        make(&bench, "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end; exit 1");
        service_start(bench.service);
        run(&bench, 2);
        assert_string_equal(service_message(bench.service), "end");
        end(&bench);
}

static void test_stop_and_restart(void **state) {
        struct bench bench;

        make(&bench, "trap '' TERM INT HUP; echo up; exec sleep 1000");
        service_start(bench.service);
        run(&bench, 2);
        json_t *description = service_describe(bench.service);
        pid_t pid = (pid_t)json_integer_value(json_object_get(description, "pid"));
        json_decref(description);
        service_restart(bench.service);
        assert_int_equal(kill(pid, 0), -1); /* gone when it returns */
        run(&bench, 4);
        assert_int_equal(bench.spawned, 2);
        service_stop(bench.service);
        assert_int_equal(service_state(bench.service), SERVICE_STOPPED);
        service_start(bench.service);
        run(&bench, 7);
        assert_int_equal(service_state(bench.service), SERVICE_UP);
        end(&bench); /* kills it */
}

static void test_signal(void **state) {
        struct bench bench;

        make(&bench, "trap 'echo again; kill $!; exit 0' USR1; sleep 1000 >/dev/null & echo up; wait");
        service_signal(bench.service, SIGUSR1); /* none runs */
        service_start(bench.service);
        run(&bench, 2);
        service_signal(bench.service, SIGUSR1);
        run(&bench, 3);
        assert_string_equal(bench.lines, "up|again|");
        end(&bench);
}

HARNESS_MAIN(cmocka_unit_test(test_up_and_back), cmocka_unit_test(test_back_off),
             cmocka_unit_test(test_cannot_start), cmocka_unit_test(test_lines),
             cmocka_unit_test(test_stop_and_restart), cmocka_unit_test(test_signal))
