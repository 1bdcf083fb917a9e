/* What is kept of a VM: how its end is judged, whether it is started again, its state's file, its process. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "harness.h"
#include "loop/loop.h"
#include "vmhost/end.h"
#include "vmhost/identity.h"
#include "vmhost/oom.h"
#include "vmhost/phase.h"
#include "vmhost/restart.h"
#include "vmhost/state.h"

/* In place of the C library's: what was synced to the disk, and when. */
static unsigned synced_files, synced_directories;

int fsync(int fd) {
        struct stat status;

        assert_int_equal(fstat(fd, &status), 0);
        synced_files += S_ISREG(status.st_mode) && status.st_size > 0;
        synced_directories += S_ISDIR(status.st_mode);
        return 0;
}

static void test_judgement(void **state) {
        static const struct {
                struct end_evidence evidence;
                enum end_by by;
                bool clean;
                const char *reason; /* a part of it */
        } cases[] = {
                { { .child = true, .shutdown_reason = "guest-shutdown" },
                  END_BY_GUEST,
                  true,
                  "shut itself down" },
                { { .shutdown_reason = "guest-shutdown" }, END_BY_GUEST, true, "shut itself down" },
                { { .child = true, .shutdown_reason = "guest-shutdown", .stage = STOP_ACPI },
                  END_BY_HOST,
                  true,
                  "(acpi)" },
                { { .child = true, .shutdown_reason = "host-qmp-quit", .stage = STOP_QUIT },
                  END_BY_HOST,
                  true,
                  "(quit)" },
                { { .child = true, .signal = SIGKILL, .stage = STOP_SIGKILL },
                  END_BY_HOST,
                  true,
                  "(sigkill)" },
                { { .child = true, .signal = SIGKILL, .stage = STOP_SIGKILL, .out_of_memory = true },
                  END_BY_HOST,
                  true,
                  "(sigkill)" },
                { { .child = true, .signal = SIGKILL, .stage = STOP_ACPI, .out_of_memory = true },
                  END_BY_OOM,
                  false,
                  "memory" },
                { { .child = true, .signal = SIGKILL, .out_of_memory = true }, END_BY_OOM, false, "memory" },
                { { .child = true, .signal = SIGKILL }, END_BY_CRASH, false, "signal 9" },
                { { .child = true, .signal = SIGSEGV }, END_BY_CRASH, false, "signal 11" },
                { { .child = true, .exit_code = 1 }, END_BY_CRASH, false, "exit code 1" },
                { { .child = true, .panicked = true, .shutdown_reason = "guest-panic" },
                  END_BY_CRASH,
                  false,
                  "panicked" },
                { { .child = true, .watchdog = true, .shutdown_reason = "guest-reset" },
                  END_BY_CRASH,
                  false,
                  "watchdog" },
                { { .child = true, .shutdown_reason = "guest-reset" }, END_BY_GUEST, true, "rebooted" },
                { { .child = true, .shutdown_reason = "host-signal" }, END_BY_HOST, true, "somebody else" },
                { { .shutdown_reason = "host-qmp-quit" }, END_BY_HOST, true, "somebody else" },
                { { .shutdown_reason = NULL }, END_BY_CRASH, false, "adopted" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct end end = END_INIT;
                assert_int_equal(end_judge(&end, &cases[i].evidence), 0);
                assert_int_equal(end.by, cases[i].by);
                assert_int_equal(end_is_clean(&end), cases[i].clean);
                assert_non_null(strstr(end.reason, cases[i].reason));
                json_t *json = end_to_json(&end);
                assert_string_equal(json_string_value(json_object_get(json, "by")), end_by_name(cases[i].by));
                assert_int_equal(json_is_null(json_object_get(json, "signal")), !cases[i].evidence.child);
                json_decref(json);
                end_deinit(&end);
        }
}

/* Whatever the reason is made of, there is a record. */
static void test_reason_that_is_no_text(void **state) {
        char reason[] = "its words: \xc3";
        const struct end end = { .reason = reason };
        json_auto_t *json = end_to_json(&end);

        assert_string_equal(json_string_value(json_object_get(json, "reason")), "its words: ?");
}

static void test_restart(void **state) {
        struct end good = { .by = END_BY_GUEST }, stopped = { .by = END_BY_HOST, .stage = STOP_ACPI },
                   bad = { .by = END_BY_CRASH }, lasting = { .by = END_BY_OOM, .uptime_ms = 60000 };
        struct restart no = { .policy = RESTART_POLICY_NO },
                       failure = { .policy = RESTART_POLICY_ON_FAILURE },
                       always = { .policy = RESTART_POLICY_ALWAYS };
        uint64_t pause = 0;

        assert_false(restart_decide(&no, &bad, true, &pause));
        assert_false(restart_decide(&failure, &good, true, &pause));
        assert_false(restart_decide(&failure, &stopped, true, &pause));
        assert_true(restart_decide(&always, &good, true, &pause));
        /* A deliberate stop is the last word, whatever the end looks like. */
        assert_false(restart_decide(&always, &good, false, &pause));
        assert_false(restart_decide(&failure, &bad, false, &pause));

        static const uint64_t pauses[] = { 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000 };
        for (size_t i = 0; i < ARRAY_SIZE(pauses); i++) {
                assert_true(restart_decide(&failure, &bad, true, &pause));
                assert_int_equal(pause, pauses[i]);
        }
        assert_true(restart_decide(&failure, &lasting, true, &pause));
        assert_int_equal(pause, 1000);
}

static void test_phases(void **state) {
        static const enum phase live[] = { PHASE_BOOTING, PHASE_RUNNING, PHASE_PAUSED, PHASE_IO_ERROR,
                                           PHASE_STOPPING };
        enum phase phase;

        for (unsigned i = 0; i < PHASE_COUNT; i++) {
                assert_int_equal(phase_parse(phase_name((enum phase)i), &phase), 0);
                assert_int_equal(phase, i);
                assert_false(phase_may_follow((enum phase)i, (enum phase)i));
        }
        assert_int_equal(phase_parse("up", &phase), -EINVAL);
        for (size_t i = 0; i < ARRAY_SIZE(live); i++) {
                assert_string_equal(phase_state(live[i]), "running");
                assert_true(phase_may_follow(live[i], PHASE_STOPPED));
                assert_true(phase_may_follow(live[i], PHASE_FAILED));
                assert_false(phase_may_follow(PHASE_STOPPING, live[i]));
        }
        assert_null(phase_state(PHASE_PREPARING));
        assert_string_equal(phase_state(PHASE_STOPPED), "stopped");
        assert_string_equal(phase_state(PHASE_FAILED), "error");
}

static void test_state(void **state) {
        char *directory = harness_make_directory(), *path = text_format("%s/state.json", directory), *text;
        char *aside = text_format("%s/state.json.bad", directory);
        struct state first, second;
        size_t size;
        struct error error = ERROR_INIT;
        struct stat status;

        /* A VM that never ran. */
        assert_int_equal(state_load(&first, directory, "web", "qemu", &error), 0);
        assert_int_equal(error.code, 0);
        assert_int_equal(first.phase, PHASE_STOPPED);
        assert_false(first.wanted_running);
        assert_null(first.run);

        first.phase = PHASE_IO_ERROR;
        first.wanted_running = true;
        first.restarts = 3;
        first.ssh_port = 4022;
        first.run = json_pack("{s:i}", "pid", 7);
        first.last_end = json_pack("{s:s}", "by", "guest");
        assert_int_equal(state_save(&first, false, NULL), 0);
        assert_int_equal(synced_files,
                         1); /* else a power cut could leave it empty in place of the one before */
        assert_int_equal(synced_directories, 0);
        assert_int_equal(state_save(&first, true, NULL), 0);
        assert_int_equal(synced_files, 2);
        assert_int_equal(synced_directories, 1);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 07777, 0600);
        assert_int_equal(state_load(&second, directory, "web", "qemu", &error), 0);
        assert_int_equal(second.phase, PHASE_IO_ERROR);
        assert_true(second.wanted_running);
        assert_int_equal(second.restarts, 3);
        assert_int_equal(second.ssh_port, 4022);
        assert_true(json_equal(second.run, first.run));
        assert_true(json_equal(second.last_end, first.last_end));
        state_deinit(&second);

        /* One that is no JSON is told of and kept, and does not keep the VM from running. */
        assert_int_equal(file_write(path, "{\n\"a\":\n]", 8, 0600, false, NULL), 0);
        assert_int_equal(state_load(&second, directory, "web", "qemu", &error), 0);
        assert_non_null(strstr(error.text, "state.json:3: "));
        assert_null(second.run);
        state_deinit(&second);
        assert_int_equal(file_read(aside, 100, &text, &size, NULL), 0);
        assert_string_equal(text, "{\n\"a\":\n]");
        free(text);
        assert_int_equal(access(path, F_OK), -1);
        error = ERROR_INIT;
        assert_int_equal(
                file_write(path, "{\"phase\":5,\"run\":[],\"ssh_port\":70000}", 37, 0600, false, NULL), 0);
        assert_int_equal(state_load(&second, directory, "web", "qemu", &error), 0);
        assert_int_equal(second.phase, PHASE_STOPPED);
        assert_null(second.run);
        assert_int_equal(second.ssh_port, 0);
        state_deinit(&second);

        /* One that cannot be read may tell of a VM that runs: nothing is begun. */
        error = ERROR_INIT;
        assert_int_equal(truncate(path, 2 << 20), 0);
        assert_int_equal(state_load(&second, directory, "web", "qemu", &error), -EFBIG);
        assert_non_null(strstr(error.text, "state.json is larger than "));
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_size, 2 << 20);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkdir(path, 0700), 0);
        assert_int_equal(state_load(&second, directory, "web", "qemu", &error), -EISDIR);

        state_deinit(&first);
        free(aside);
        free(path);
        harness_remove_directory(directory);
}

static pid_t spawn_sleeper(void) {
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                alarm(100);
                for (;;)
                        pause();
        }
        return pid;
}

static void test_identity(void **state) {
        pid_t pid = spawn_sleeper();
        struct identity identity, again, other;
        json_t *object = json_object();
        int fd;

        assert_int_equal(identity_of(pid, &identity), 0);
        assert_int_equal(identity_write(&identity, object), 0);
        assert_int_equal(identity_read(object, &again), 0);
        fd = identity_open(&again);
        assert_true(fd >= 0);
        close(fd);

        /* The pid of another process, and of another boot. */
        other = again;
        other.start_time++;
        assert_int_equal(identity_open(&other), -ESRCH);
        other = again;
        other.boot_id[0] = other.boot_id[0] == '0' ? '1' : '0';
        assert_int_equal(identity_open(&other), -ESRCH);

        /* One that has ended and is not reaped is not alive. */
        kill(pid, SIGKILL);
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
        assert_int_equal(identity_open(&again), -ESRCH);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(identity_open(&again), -ESRCH);

        json_object_set_new(object, "pid", json_integer(-1));
        assert_int_equal(identity_read(object, &again), -EINVAL);
        json_object_clear(object);
        assert_int_equal(identity_read(object, &again), -EINVAL);
        json_decref(object);
}

/* Somebody's SIGKILL is not the kernel's: for all that the witnesses say. */
static void test_no_oom(void **state) {
        pid_t pid = spawn_sleeper();
        struct oom oom;

        oom_begin(&oom, pid);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_false(oom_was_killed(&oom));

        /* And a count that rose is. */
        if (oom.machine_kills == UINT64_MAX)
                skip();
        oom.machine_kills -= 1; /* below 0 where there was none yet: as high as can be */
        oom.looked = loop_now();
        assert_int_equal(oom_was_killed(&oom), oom.machine_kills != UINT64_MAX);

        /* But for one that was not heard of for long, others may have been killed since. */
        oom.looked -= OOM_FRESH;
        assert_false(oom_was_killed(&oom));
}

HARNESS_MAIN(cmocka_unit_test(test_judgement), cmocka_unit_test(test_reason_that_is_no_text),
             cmocka_unit_test(test_restart), cmocka_unit_test(test_phases), cmocka_unit_test(test_state),
             cmocka_unit_test(test_identity), cmocka_unit_test(test_no_oom))
