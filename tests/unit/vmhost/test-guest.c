/* What QMP says, made into phases, events and evidence: against a QEMU of our own making that listens in a
 * directory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "harness.h"
#include "vmhost/guest.h"
#include "vmhost/qemu.h"

struct stage {
        char *directory;
        struct loop *loop;
        struct guest *guest;
        struct source *guard;

        int listening, connection;
        struct source *accept, *talk;
        const char *run_state; /* the answer to query-status */
        const char *disks, *channels; /* the answers to query-block and query-chardev */
        bool dumb;
        char commands[1024]; /* the names of what was executed, but for questions */

        char told[4096]; /* phases and events, in their order */
        const char *awaited; /* in `told` or `commands` */
};

static void check(struct stage *stage) {
        if (stage->awaited &&
            (strstr(stage->told, stage->awaited) || strstr(stage->commands, stage->awaited)))
                loop_exit(stage->loop, 0);
}

static void tell(struct stage *stage, const char *what, const char *detail) {
        size_t n = strlen(stage->told);

        snprintf(stage->told + n, sizeof(stage->told) - n, "%s[%s] ", what, detail);
        check(stage);
}

static void on_phase(enum phase phase, const char *message, void *data) {
        tell(data, phase_name(phase), message);
}

static void on_event(const char *event, json_t *consume_details, void *data) {
        json_decref(consume_details);
        tell(data, event, "event");
}

static void on_alive(void *data) {
}

static const struct guest_handlers handlers = { on_phase, on_event, on_alive };

static void say(struct stage *stage, const char *text) {
        assert_int_equal(send(stage->connection, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void answer(struct stage *stage, json_t *message) {
        const char *command = json_string_value(json_object_get(message, "execute"));
        _cleanup_free_ char *line = NULL, *value = NULL;

        assert_non_null(command);
        if (text_equal(command, "query-status"))
                value = text_format("{\"status\":\"%s\"}", stage->run_state);
        else if (text_equal(command, "query-block"))
                value = strdup(stage->disks);
        else if (text_equal(command, "query-chardev"))
                value = strdup(stage->channels);
        else
                value = strdup("{}");
        line = text_format("{\"return\":%s,\"id\":%lld}\r\n", value,
                           (long long)json_integer_value(json_object_get(message, "id")));
        if (!text_starts_with(command, "query-")) {
                strcat(stage->commands, command);
                strcat(stage->commands, " ");
        }
        say(stage, line);
        check(stage);
}

static int on_talk(struct source *source, int fd, uint32_t events, void *data) {
        struct stage *stage = data;
        char buffer[4096], *save = NULL;
        ssize_t n = recv(fd, buffer, sizeof(buffer) - 1, MSG_DONTWAIT);

        if (n <= 0) {
                source_set_events(source, 0);
                return 0;
        }
        buffer[n] = '\0';
        for (char *line = strtok_r(buffer, "\n", &save); line && !stage->dumb;
             line = strtok_r(NULL, "\n", &save)) {
                json_t *message = json_loads(line, 0, NULL);
                answer(stage, message);
                json_decref(message);
        }
        return 0;
}

static int on_accept(struct source *source, int fd, uint32_t events, void *data) {
        struct stage *stage = data;

        stage->connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        assert_true(stage->connection >= 0);
        say(stage, "{\"QMP\":{}}\r\n");
        return loop_add_fd(stage->loop, &stage->talk, stage->connection, EPOLLIN, on_talk, stage);
}

static int on_guard(struct source *source, void *data) {
        struct stage *stage = data;

        loop_exit(stage->loop, -ETIME);
        return 0;
}

static void setup(struct stage *stage, enum guest_origin origin, const char *run_state) {
        *stage = (struct stage){ .run_state = run_state, .disks = "[]", .channels = "[]", .connection = -1 };
        stage->directory = harness_make_directory();
        char *path = text_format("%s/" QEMU_QMP_SOCKET, stage->directory);
        stage->listening = fd_listen_unix(path, 0600);
        assert_true(stage->listening >= 0);
        free(path);
        assert_int_equal(loop_new(&stage->loop), 0);
        assert_int_equal(loop_add_timer(stage->loop, &stage->guard, on_guard, stage), 0);
        assert_int_equal(
                loop_add_fd(stage->loop, &stage->accept, stage->listening, EPOLLIN, on_accept, stage), 0);
        assert_int_equal(guest_new(&stage->guest, stage->loop, stage->directory, stage->directory, origin,
                                   &handlers, stage),
                         0);
}

/* Until this is told or executed; then both lists begin anew. */
static void await(struct stage *stage, const char *what) {
        stage->awaited = what;
        source_arm(stage->guard, 60000000);
        check(stage);
        int r = loop_run(stage->loop);
        if (r < 0)
                print_message("# \"%s\" is not in \"%s\" nor in \"%s\"\n", what, stage->told,
                              stage->commands);
        assert_int_equal(r, 0);
        stage->told[0] = stage->commands[0] = '\0';
}

static void teardown(struct stage *stage) {
        guest_free(stage->guest);
        source_free(stage->talk);
        source_free(stage->accept);
        source_free(stage->guard);
        loop_free(stage->loop);
        fd_close(stage->connection);
        fd_close(stage->listening);
        harness_remove_directory(stage->directory);
}

static void test_boot(void **state) {
        struct stage stage;

        setup(&stage, GUEST_NEW, "running");
        await(&stage, "booting[]");
        assert_true(guest_was_ready(stage.guest));
        assert_false(guest_has_booted(stage.guest));
        assert_false(guest_may_have_agent(stage.guest));

        /* Another program's port, of the configuration's own arguments. */
        say(&stage, "{\"event\":\"VSERPORT_CHANGE\",\"data\":{\"id\":\"spice\",\"open\":true}}\n"
                    "{\"event\":\"POWERDOWN\"}\n");
        await(&stage, "powerdown[event]");
        assert_false(guest_has_booted(stage.guest));
        assert_false(guest_may_have_agent(stage.guest));

        say(&stage, "{\"event\":\"VSERPORT_CHANGE\",\"data\":{\"id\":\"agent\",\"open\":true}}\n");
        await(&stage, "agent[event] running[]");
        assert_true(guest_has_booted(stage.guest));
        assert_true(guest_may_have_agent(stage.guest));

        /* A reboot begins anew. */
        say(&stage, "{\"event\":\"VSERPORT_CHANGE\",\"data\":{\"id\":\"agent\",\"open\":false}}\n"
                    "{\"event\":\"RESET\",\"data\":{\"guest\":true,\"reason\":\"guest-reset\"}}\n");
        await(&stage, "agent[event] reset[event] booting[]");
        assert_false(guest_may_have_agent(stage.guest));
        teardown(&stage);
}

static void test_adopted(void **state) {
        struct stage stage;

        /* The agent's port is asked for, and tells that the guest has booted. */
        setup(&stage, GUEST_ADOPTED_BOOTING, "running");
        stage.channels = "[{\"label\":\"console\",\"frontend-open\":true},{\"label\":\"agent\",\"frontend-"
                         "open\":true}]";
        assert_true(guest_may_have_agent(stage.guest));
        await(&stage, "running[]");
        assert_true(guest_may_have_agent(stage.guest));
        teardown(&stage);

        setup(&stage, GUEST_ADOPTED_BOOTED, "paused");
        stage.channels = "[{\"label\":\"agent\",\"frontend-open\":false}]";
        await(&stage, "paused[paused by a command]");
        guest_wake(stage.guest);
        await(&stage, "cont ");
        assert_false(guest_may_have_agent(stage.guest));
        teardown(&stage);
}

static void test_states(void **state) {
        static const struct {
                const char *run_state, *told;
        } cases[] = {
                { "running", "running[]" },
                { "paused", "paused[paused by a command]" },
                { "guest-panicked", "paused[the guest's kernel panicked]" },
                { "internal-error", "paused[QEMU met" },
                { "watchdog", "paused[the guest's watchdog" },
                { "suspended", "paused[the guest sleeps]" },
                { "postmigrate", "paused[postmigrate]" },
                { "\\u001b[2J", "paused[QEMU gives a word that is none of its own]" },
                { "running", "running[]" },
                { "\xc2\x9b"
                  "2J",
                  "paused[QEMU gives a word that is none of its own]" },
        };
        struct stage stage;

        setup(&stage, GUEST_ADOPTED_BOOTED, "running");
        await(&stage, "running[]");
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                stage.run_state = cases[i].run_state;
                say(&stage, i % 2 ? "{\"event\":\"STOP\"}\n" : "{\"event\":\"RESUME\"}\n");
                await(&stage, cases[i].told);
        }
        teardown(&stage);

        struct end_evidence evidence = {};
        setup(&stage, GUEST_ADOPTED_BOOTED, "running");
        await(&stage, "running[]");
        say(&stage, "{\"event\":\"SHUTDOWN\",\"data\":{\"reason\":\"host-signal\\u001b[2J\"}}\n");
        await(&stage, "shutdown[event]");
        guest_testify(stage.guest, &evidence);
        assert_string_equal(evidence.shutdown_reason, "QEMU gives a word that is none of its own");
        teardown(&stage);
}

static void test_end(void **state) {
        struct end_evidence evidence = {};
        struct stage stage;

        setup(&stage, GUEST_NEW, "running");
        await(&stage, "booting[]");
        guest_press_power(stage.guest);
        guest_press_power(stage.guest);
        await(&stage, "system_powerdown system_powerdown ");
        say(&stage, "{\"event\":\"WATCHDOG\",\"data\":{\"action\":\"none\"}}\n");
        await(&stage, "watchdog[event]");
        say(&stage, "{\"event\":\"GUEST_PANICKED\",\"data\":{\"action\":\"poweroff\"}}\n"
                    "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":true,\"reason\":\"guest-panic\"}}\n"
                    "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":false,\"reason\":\"host-signal\"}}\n");
        /* As when the process ends before its last words are read. */
        guest_drain(stage.guest);
        assert_string_equal(stage.told, "panic[event] shutdown[event] shutdown[event] ");
        guest_testify(stage.guest, &evidence);
        assert_string_equal(evidence.shutdown_reason, "guest-panic");
        assert_true(evidence.panicked);
        assert_false(evidence.watchdog);

        /* No button for one that goes already. */
        guest_press_power(stage.guest);
        assert_true(guest_quit(stage.guest));
        await(&stage, "quit ");
        teardown(&stage);
}

/* What the guest recovered from is no evidence about its end. */
static void test_recovered(void **state) {
        struct end_evidence evidence = {};
        struct stage stage;

        setup(&stage, GUEST_NEW, "running");
        await(&stage, "booting[]");
        say(&stage, "{\"event\":\"WATCHDOG\",\"data\":{\"action\":\"inject-nmi\"}}\n");
        await(&stage, "watchdog[event]");
        guest_testify(stage.guest, &evidence);
        assert_false(evidence.watchdog);

        say(&stage, "{\"event\":\"GUEST_PANICKED\",\"data\":{\"action\":\"run\"}}\n"
                    "{\"event\":\"WATCHDOG\",\"data\":{\"action\":\"shutdown\"}}\n");
        await(&stage, "panic[event] watchdog[event]");
        guest_testify(stage.guest, &evidence);
        assert_true(evidence.panicked);
        assert_true(evidence.watchdog);
        say(&stage, "{\"event\":\"RESET\",\"data\":{\"guest\":true,\"reason\":\"guest-reset\"}}\n"
                    "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":true,\"reason\":\"guest-shutdown\"}}\n");
        await(&stage, "reset[event] shutdown[event]");
        guest_testify(stage.guest, &evidence);
        assert_false(evidence.panicked);
        assert_false(evidence.watchdog);
        assert_string_equal(evidence.shutdown_reason, "guest-shutdown");
        teardown(&stage);
}

static void test_lost_connection(void **state) {
        struct stage stage;

        setup(&stage, GUEST_ADOPTED_BOOTED, "running");
        await(&stage, "running[]");
        /* QEMU serves one client at a time: we come back. */
        stage.run_state = "paused";
        stage.talk = source_free(stage.talk);
        stage.connection = fd_close(stage.connection);
        await(&stage, "paused[paused by a command]");
        teardown(&stage);
}

static void test_unresponsive(void **state) {
        struct stage stage;
        uint64_t before;

        setup(&stage, GUEST_ADOPTED_BOOTED, "running");
        await(&stage, "running[]");
        stage.dumb = true;
        before = loop_now();
        await(&stage, "unresponsive[event]");
        assert_true(guest_unresponsive_since(stage.guest) >= before);
        assert_true(guest_unresponsive_since(stage.guest) < loop_now());
        assert_false(guest_quit(stage.guest));
        assert_false(guest_may_have_agent(stage.guest));
        stage.dumb = false;
        say(&stage, "{\"event\":\"RTC_CHANGE\",\"data\":{}}\n");
        await(&stage, "responsive[event]");
        assert_int_equal(guest_unresponsive_since(stage.guest), 0);
        teardown(&stage);
}

static void test_full_disk(void **state) {
        struct stage stage;

        setup(&stage, GUEST_ADOPTED_BOOTED, "running");
        await(&stage, "running[]");

        /* The disk's file system has room: going on is tried in a moment. */
        stage.run_state = "io-error";
        say(&stage, "{\"event\":\"BLOCK_IO_ERROR\",\"data\":{\"action\":\"stop\",\"nospace\":true}}\n{"
                    "\"event\":\"STOP\"}\n");
        await(&stage, "io-error[a disk is full, though the file system of ");
        await(&stage, "cont ");
        stage.run_state = "running";
        say(&stage, "{\"event\":\"RESUME\"}\n");
        await(&stage, "running[]");

        /* An error that is reported to the guest is its own affair. */
        say(&stage, "{\"event\":\"BLOCK_IO_ERROR\",\"data\":{\"action\":\"report\",\"nospace\":true}}\n");
        await(&stage, "io-error[event]");
        stage.run_state = "io-error";
        stage.disks = "[{\"device\":\"a\",\"io-status\":\"failed\"}]";
        say(&stage, "{\"event\":\"STOP\"}\n");
        await(&stage, "io-error[a disk failed");

        /* Another error is not waited for. */
        stage.run_state = "io-error";
        stage.disks = "[{\"device\":\"a\"},{\"device\":\"b\",\"io-status\":\"failed\"}]";
        say(&stage, "{\"event\":\"BLOCK_IO_ERROR\",\"data\":{\"action\":\"stop\",\"nospace\":false}}\n{"
                    "\"event\":\"STOP\"}\n");
        await(&stage, "io-error[a disk failed");
        teardown(&stage);

        /* Found so, the disks tell which it is. */
        setup(&stage, GUEST_ADOPTED_BOOTED, "io-error");
        stage.disks =
                "[{\"device\":\"a\",\"io-status\":\"ok\"},{\"device\":\"b\",\"io-status\":\"nospace\"}]";
        await(&stage, "io-error[a disk is full, though the file system of ");
        await(&stage, "cont ");
        teardown(&stage);
}

static void test_cont(void **state) {
        struct error error = ERROR_INIT;
        struct stage stage;

        setup(&stage, GUEST_ADOPTED_BOOTED, "io-error");
        stage.disks = "[{\"device\":\"a\",\"io-status\":\"failed\"}]";
        await(&stage, "`berth vm cont`");
        assert_int_equal(guest_cont(stage.guest, NULL), 0);
        await(&stage, "cont ");

        stage.run_state = "internal-error";
        say(&stage, "{\"event\":\"STOP\"}\n");
        await(&stage, "QEMU met an internal error");
        assert_int_equal(guest_cont(stage.guest, &error), -EBUSY);
        assert_non_null(strstr(error.text, "what paused the VM"));

        stage.dumb = true;
        await(&stage, "unresponsive[event]");
        assert_int_equal(guest_cont(stage.guest, NULL), -ETIMEDOUT);
        assert_string_equal(stage.commands, "");
        teardown(&stage);
}

/* Once for each share, whether it is lost before we come or later. */
static void test_shares(void **state) {
        struct stage stage;

        setup(&stage, GUEST_NEW, "running");
        stage.channels = "[{\"label\":\"share-\\u001b[2J\",\"filename\":\"disconnected:\"},"
                         "{\"label\":\"share-a\",\"filename\":\"unix:\"},"
                         "{\"label\":\"share-b.1\",\"filename\":\"disconnected:fd:41\"}]";
        await(&stage, "share-lost[event]");
        stage.channels = "[{\"label\":\"share-a\",\"filename\":\"disconnected:fd:40\"},"
                         "{\"label\":\"share-b.1\",\"filename\":\"disconnected:fd:41\"}]";
        await(&stage, "share-lost[event]");
        json_t *facts = json_object(), *lost = json_pack("[s, s]", "b.1", "a");
        guest_describe(stage.guest, facts);
        assert_true(json_equal(json_object_get(facts, "shares_lost"), lost));
        json_decref(facts);
        json_decref(lost);
        teardown(&stage);
}

/* A disk that is full and not for want of room there, as on a thin volume: it is tried ever more rarely. */
static void test_full_elsewhere(void **state) {
        static const char *const said[] = { "tried again after 1 s]", "tried again after 1 s]",
                                            "tried again after 2 s]", "tried again after 4 s]" };
        struct stage stage;

        setup(&stage, GUEST_ADOPTED_BOOTED, "io-error");
        stage.disks = "[{\"device\":\"a\",\"io-status\":\"nospace\"}]";
        for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
                await(&stage, said[i]);
                if (i < ARRAY_SIZE(said) - 1)
                        await(&stage, "cont ");
                stage.run_state = "running";
                say(&stage, "{\"event\":\"RESUME\"}\n");
                await(&stage, "running[]");
                stage.run_state = "io-error";
                say(&stage, "{\"event\":\"STOP\"}\n");
        }
        teardown(&stage);
}

HARNESS_MAIN(cmocka_unit_test(test_boot), cmocka_unit_test(test_adopted), cmocka_unit_test(test_states),
             cmocka_unit_test(test_end), cmocka_unit_test(test_recovered),
             cmocka_unit_test(test_lost_connection), cmocka_unit_test(test_unresponsive),
             cmocka_unit_test(test_full_disk), cmocka_unit_test(test_full_elsewhere),
             cmocka_unit_test(test_cont), cmocka_unit_test(test_shares))
