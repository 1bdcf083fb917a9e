/* cli/vm-launch: an adoption that does not come to an end. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "cli/session.h"
#include "cli/vm-clock.h"
#include "cli/vm-launch.h"
#include "fixture.h"

#define SHORT_MS 500

struct world {
        struct fixture *fixture;
        struct vm vm;
        struct session session;
};

/* A VM that runs, as this process does, and has no vmhost; the program is what vmhost is to be. */
static void setup(struct world *world, const char *program) {
        _cleanup_free_ char *state = NULL, *text = NULL, *path = NULL;
        uint64_t start_time;
        char boot_id[37];

        *world = (struct world){ .fixture = fixture_new(), .session = { .error = ERROR_INIT } };
        fixture_make_vm(world->fixture, "web");
        assert_int_equal(process_boot_id(boot_id), 0);
        assert_int_equal(process_start_time(getpid(), &start_time), 0);
        state = text_format(
                "{\"phase\":\"running\",\"run\":{\"pid\":%d,\"start_time\":%llu,\"boot_id\":\"%s\"}}",
                (int)getpid(), (unsigned long long)start_time, boot_id);
        fixture_write(world->fixture, "web", "state.json", state);
        path = text_format("%s/program", world->fixture->config);
        text = text_format("#!/bin/sh\ncd %s\n%s\n", world->fixture->config, program);
        assert_int_equal(file_write(path, text, strlen(text), 0755, false, NULL), 0);
        setenv("BERTH_VMHOST", path, 1);
        assert_int_equal(vm_find(&world->session, "web", &world->vm), 0);
}

static void teardown(struct world *world) {
        vm_deinit(&world->vm);
        session_deinit(&world->session);
        fixture_free(world->fixture);
}

/* A vmhost that hangs, as on a QEMU that does, is told of and ended: it has not become one that anybody
 * knows. */
static void test_hangs(void **state) {
        struct world world;
        _cleanup_free_ char *path = NULL, *pid = NULL;
        size_t size;

        /* The shell alone, so that nobody goes on who makes files there. */
        setup(&world, "echo $$ >pid; read never <fifo");
        int fifo = fixture_make_pipe(world.fixture, "fifo");
        assert_int_equal(vm_adopt_until(&world.session, &world.vm, vm_clock_in_ms(SHORT_MS)), -ETIMEDOUT);
        if (!strstr(world.session.error.text,
                    "the new vmhost of web does not say whether it has taken it over\n") ||
            !strstr(world.session.error.text, "vmhost.log may say why"))
                fail_msg("%s", world.session.error.text);
        path = text_format("%s/pid", world.fixture->config);
        /* On a slow machine it may have been ended before it wrote that. */
        if (file_read(path, 32, &pid, &size, NULL) == 0 && size > 0)
                assert_int_equal(kill((pid_t)atoi(pid), 0), -1);
        fd_close(fifo);
        teardown(&world);
}

/* One that is kept out by another, which has not come to listen yet: it is tried again, and that other's VM
 * has ended in the end. */
static void test_kept_out(void **state) {
        struct world world;
        _cleanup_free_ char *path = NULL, *tries = NULL;
        size_t size;

        setup(&world,
              "echo >>tries\n"
              "[ $(wc -l <tries) -lt 3 ] || echo '{\"phase\":\"stopped\",\"run\":null}' >vms/web/state.json\n"
              "exit 3");
        assert_int_equal(vm_adopt(&world.session, &world.vm), 0);
        assert_string_equal(world.session.error.text, "");
        path = text_format("%s/tries", world.fixture->config);
        assert_int_equal(file_read(path, 32, &tries, &size, NULL), 0);
        assert_int_equal(size, 3);
        teardown(&world);
}

/* It ended in the moment before: nothing is left to do, and that is no failure. */
static void test_ended(void **state) {
        struct world world;

        setup(&world, "echo '{\"phase\":\"stopped\",\"run\":null}' >vms/web/state.json; exit 4");
        assert_int_equal(vm_adopt(&world.session, &world.vm), 0);
        assert_string_equal(world.session.error.text, "");
        teardown(&world);
}

HARNESS_MAIN(cmocka_unit_test(test_hangs), cmocka_unit_test(test_kept_out), cmocka_unit_test(test_ended))
