/* vmhost/controller-qemu, where no QEMU is needed for it. */
#include "harness.h"

#include <errno.h>
#include <unistd.h>

#include "vmhost/controller-qemu.h"
#include "vmhost/identity.h"

static void on_nothing(void *data) {
}
static void on_event(const char *event, json_t *consume_details, void *data) {
        json_decref(consume_details);
}
static void on_ended(struct end *end, void *data) {
        end_deinit(end);
}

static const struct controller_listener listener = { on_nothing, on_nothing, on_nothing, on_event, on_ended };

/* The record's pid is another process's by now: nothing is said of that one. */
static void test_stale_pid(void **state) {
        char *directory = harness_make_directory();
        struct controller *controller = NULL;
        struct identity identity;
        struct loop *loop;
        json_auto_t *run = json_object();

        assert_int_equal(identity_of(getpid(), &identity), 0);
        identity.start_time++;
        assert_int_equal(identity_write(&identity, run), 0);
        assert_int_equal(loop_new(&loop), 0);
        assert_int_equal(
                controller_qemu_new(&controller, loop, directory, "web", NULL, 0, &listener, NULL, NULL), 0);
        assert_int_equal(controller->ops->adopt(controller, run, NULL), -ESRCH);
        assert_int_equal(controller->ops->pid(controller), 0);
        controller_free(controller);
        loop_free(loop);
        harness_remove_directory(directory);
}

HARNESS_MAIN(cmocka_unit_test(test_stale_pid))
