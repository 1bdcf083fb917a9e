/* vmhost/qemu, with the real one: that it takes its arguments, what it has then, and what it cannot do. */
#include "harness.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "vmhost/confine.h"
#include "vmhost/console-log.h"
#include "vmhost/console.h"
#include "vmhost/qemu.h"
#include "wire/wire.h"

#define PATIENCE 60000 /* milliseconds, for a machine that has much else to do */

struct world {
        char *directory, *disk, *outside;
        struct configuration *configuration;
        pid_t pid;
        int pidfd;
        struct wire *qmp;
};

static void write_text(const char *path, const char *text) {
        assert_int_equal(file_write(path, text, strlen(text), 0600, false, NULL), 0);
}

static int setup(void **state) {
        static struct world world;
        _cleanup_free_ char *qemu = process_find_program("qemu-system-x86_64", NULL);

        if (!qemu)
                skip();
        world = (struct world){ .pidfd = -1 };
        world.directory = harness_make_directory();
        world.disk = text_format("%s/disk.raw", world.directory);
        /* Above the VM's directory. */
        world.outside = text_format("%s.secret", world.directory);
        write_text(world.disk, "a disk");
        write_text(world.outside, "a secret");
        assert_int_equal(truncate(world.disk, 1 << 20), 0);
        assert_int_equal(console_begin_run(world.directory), 0);
        *state = &world;
        return 0;
}

static int teardown(void **state) {
        struct world *world = *state;

        wire_free(world->qmp);
        if (world->pidfd >= 0) {
                process_signal(world->pidfd, SIGKILL);
                fd_close(world->pidfd);
                waitpid(world->pid, NULL, 0);
        }
        configuration_free(world->configuration);
        unlink(world->outside);
        free(world->outside);
        free(world->disk);
        harness_remove_directory(world->directory);
        return 0;
}

/* Starts QEMU, its processors standing still; `more` is further members of the configuration. */
static int start(struct world *world, const char *more, struct error *error) {
        _cleanup_free_ char *path = text_format("%s/config.json", world->directory);
        _cleanup_free_ char *text = text_format(
                "{%s\"disk\":\"disk.raw\",\"disk_format\":\"raw\",\"cpus\":2%s%s}",
                strstr(more, "\"memory_mib\"") ? "" : "\"memory_mib\":64,", *more ? "," : "", more);

        write_text(path, text);
        assert_int_equal(configuration_load(&world->configuration, path, "web", error), 0);
        world->pidfd = qemu_spawn(world->configuration, NULL, world->directory, "web", NULL, NULL,
                                  &world->pid, error);
        return world->pidfd;
}

/* The next message of QMP that is no event. */
static json_t *receive(struct world *world) {
        for (;;) {
                _cleanup_(wire_message_deinit) struct wire_message message = WIRE_MESSAGE_INIT;
                struct pollfd pollfd = { .fd = wire_fd(world->qmp), .events = POLLIN };
                int r = wire_receive(world->qmp, &message, NULL);

                if (r == WIRE_AGAIN)
                        assert_int_equal(poll(&pollfd, 1, PATIENCE), 1);
                else if (r != WIRE_MESSAGE)
                        fail_msg("QMP ended");
                else if (!json_object_get(message.body, "event"))
                        return json_incref(message.body);
        }
}

static json_t *ask(struct world *world, const char *command, json_t *consume_arguments) {
        json_auto_t *request = json_pack("{ss so*}", "execute", command, "arguments", consume_arguments);

        assert_int_equal(wire_send(world->qmp, request, NULL, 0), 0);
        return receive(world);
}

static void connect_qmp(struct world *world) {
        _cleanup_free_ char *path = text_format("%s/" QEMU_QMP_SOCKET, world->directory);
        int fd = fd_connect_unix(path);

        /* At once: it listens before QEMU does anything. */
        assert_true(fd >= 0);
        assert_int_equal(wire_new(&world->qmp, fd), 0);
        json_auto_t *greeting = receive(world);
        assert_non_null(json_object_get(greeting, "QMP"));
        json_auto_t *ready = ask(world, "qmp_capabilities", NULL);
        assert_non_null(json_object_get(ready, "return"));
}

static void start_well(struct world *world, const char *more) {
        struct error error = ERROR_INIT;

        if (start(world, more, &error) < 0)
                fail_msg("%s", error.text);
        connect_qmp(world);
}

/* A line of /proc/PID/status, behind its name; to be freed. */
static char *status_of(pid_t pid, const char *name) {
        _cleanup_free_ char *path = text_format("/proc/%d/status", (int)pid), *text = NULL;
        size_t size;

        assert_int_equal(file_read(path, 65536, &text, &size, NULL), 0);
        char *line = strstr(text, name);
        assert_non_null(line);
        line += strlen(name);
        return strndup(line, strcspn(line, "\n"));
}

static void test_machine(void **state) {
        struct world *world = *state;

        start_well(world, "\"extra_arguments\":[\"-S\"],\"ssh_keys\":[\"ssh-rsa A,B\"]");
        json_auto_t *status = ask(world, "query-status", NULL), *disks = ask(world, "query-block", NULL);
        json_auto_t *memory = ask(world, "query-memdev", NULL),
                    *processors = ask(world, "query-cpus-fast", NULL);
        _cleanup_free_ char *text = json_dumps(disks, JSON_COMPACT);

        assert_string_equal(json_string_value(json_object_get(json_object_get(status, "return"), "status")),
                            "prelaunch");
        assert_non_null(strstr(text, "/disk.raw"));
        assert_non_null(strstr(text, "/seed.img"));
        json_t *backend = json_array_get(json_object_get(memory, "return"), 0);
        assert_true(json_is_true(json_object_get(backend, "share")));
        assert_int_equal(json_integer_value(json_object_get(backend, "size")), 64 << 20);
        assert_int_equal(json_array_size(json_object_get(processors, "return")), 2);

        assert_int_equal(getsid(world->pid), world->pid);

        json_auto_t *end = ask(world, "quit", NULL);
        assert_non_null(json_object_get(end, "return"));
        siginfo_t info = { 0 };
        assert_int_equal(waitid(P_PID, (id_t)world->pid, &info, WEXITED), 0);
        assert_int_equal(info.si_code, CLD_EXITED);
        assert_int_equal(info.si_status, 0);
        world->pidfd = fd_close(world->pidfd);
}

/* By QMP QEMU can be told to open any path: as much as one that a guest took over could do. */
static bool can_open(struct world *world, const char *path, bool read_only) {
        json_auto_t *reply = ask(world, "blockdev-add",
                                 json_pack("{ss ss ss sb}", "driver", "file", "node-name",
                                           read_only ? "r" : "w", "filename", path, "read-only", read_only));
        json_auto_t *gone = ask(world, "blockdev-del", json_pack("{ss}", "node-name", read_only ? "r" : "w"));
        _cleanup_free_ char *text = json_dumps(reply, JSON_COMPACT);

        if (json_object_get(reply, "return"))
                return json_object_get(gone, "return") != NULL;
        if (!strstr(text, "Permission denied"))
                fail_msg("%s: %s", path, text);
        return false;
}

static void test_confined(void **state) {
        struct world *world = *state;
        char description[160];

        if (confine_abi() == 0)
                skip();
        start_well(world, "\"extra_arguments\":[\"-S\"]");
        _cleanup_free_ char *privileges = status_of(world->pid, "NoNewPrivs:");
        _cleanup_free_ char *seccomp = status_of(world->pid, "Seccomp:");
        _cleanup_free_ char *capabilities = status_of(world->pid, "CapEff:");
        _cleanup_free_ char *configuration = text_format("%s/config.json", world->directory);
        _cleanup_free_ char *seed = text_format("%s/" QEMU_SEED, world->directory);

        assert_string_equal(privileges, "\t1");
        assert_string_equal(seccomp, "\t2");
        assert_true((strtoull(capabilities, NULL, 16) & ~0x1bULL) == 0);
        assert_true(can_open(world, world->disk, true));
        assert_true(can_open(world, seed, true));
        assert_false(can_open(world, seed, false));
        assert_false(can_open(world, world->outside, true));
        assert_false(can_open(world, "/etc/passwd", true));
        /* What the next start will believe is out of reach too. */
        assert_false(can_open(world, configuration, true));
        assert_false(can_open(world, configuration, false));

        qemu_describe_confinement(world->configuration, description, sizeof(description));
        assert_non_null(strstr(description, "Landlock (version "));
}

static void test_not_confined(void **state) {
        struct world *world = *state;
        char description[160];

        start_well(world, "\"extra_arguments\":[\"-S\"],\"confine\":false");
        assert_true(can_open(world, world->outside, true));
        qemu_describe_confinement(world->configuration, description, sizeof(description));
        assert_string_equal(description, "none: switched off by \"confine\": false");
}

/* QEMU reads a kernel's header as it starts, runs or not: this is one of 16 bits and no code. */
static void test_microvm(void **state) {
        struct world *world = *state;
        _cleanup_free_ char *path = text_format("%s/kernel", world->directory);
        char kernel[8192] = { 0 };

        kernel[0x1f1] = 1; /* sectors of the part in real mode */
        memcpy(kernel + 0x202, "HdrS\x02\x02", 6);
        assert_int_equal(file_write(path, kernel, sizeof(kernel), 0600, false, NULL), 0);
        start_well(world, "\"machine\":\"microvm\",\"kernel\":\"kernel\",\"extra_arguments\":[\"-S\"]");
        json_auto_t *disks = ask(world, "query-block", NULL);
        assert_int_equal(json_array_size(json_object_get(disks, "return")), 2);
}

/* Shares are within the confinement, each as far as it was given. */
static void test_shares(void **state) {
        struct world *world = *state;
        _cleanup_free_ char *virtiofsd = process_find_program("virtiofsd", "/usr/lib/qemu");
        _cleanup_free_ char *readable = text_format("%s/readable", world->directory);
        _cleanup_free_ char *writable = text_format("%s/writable", world->directory);
        _cleanup_free_ char *read_file = text_format("%s/f", readable);
        _cleanup_free_ char *written_file = text_format("%s/f", writable);
        _cleanup_free_ char *log = text_format("%s/virtiofsd-fast.log", world->directory);

        if (confine_abi() == 0)
                skip();
        assert_int_equal(mkdir(readable, 0700), 0);
        assert_int_equal(mkdir(writable, 0700), 0);
        write_text(read_file, "shared");
        write_text(written_file, "shared");
        _cleanup_free_ char *more = text_format(
                "\"shares\":[{\"path\":\"readable\",\"read_only\":true},{\"path\":\"writable\"}%s],"
                "\"extra_arguments\":[\"-S\"]",
                /* The one in C runs as root only. */
                virtiofsd && geteuid() == 0
                        ? ",{\"path\":\"writable\",\"tag\":\"fast\",\"type\":\"virtiofs\"}"
                        : "");
        start_well(world, more);
        assert_true(can_open(world, read_file, true));
        assert_false(can_open(world, read_file, false));
        assert_true(can_open(world, written_file, false));
        if (virtiofsd && geteuid() == 0)
                assert_int_equal(access(log, F_OK), 0);
}

/* One that ends at once says why; its sockets then lead nowhere, and nobody waits. */
static void test_refused(void **state) {
        struct world *world = *state;
        struct error error = ERROR_INIT;
        char words[256];
        siginfo_t info = { 0 };

        qemu_last_words(world->directory, words, sizeof(words));
        assert_string_equal(words, "");
        assert_true(start(world, "\"extra_arguments\":[\"-device\",\"flux-capacitor\"]", &error) >= 0);
        assert_int_equal(waitid(P_PID, (id_t)world->pid, &info, WEXITED), 0);
        world->pidfd = fd_close(world->pidfd);
        assert_int_equal(info.si_status, 1);
        qemu_last_words(world->directory, words, sizeof(words));
        assert_non_null(strstr(words, "flux-capacitor"));
        assert_null(strchr(words, '\n'));
        qemu_last_words(world->directory, words, 5);
        assert_int_equal(strlen(words), 4);
}

/* What QEMU says in terms of its own is led back to the configuration. */
static void test_refused_in_its_terms(void **state) {
        static const struct {
                const char *more, *begin;
        } cases[] = {
                { "\"accelerator\":\"tcg\",\"memory_mib\":2097152", "\"memory_mib\" is more than " },
                { "\"kernel\":\"/etc/passwd\"", "\"kernel\" is no kernel of Linux" },
        };
        struct world *world = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct error error = ERROR_INIT;
                siginfo_t info = { 0 };
                char words[256];

                assert_true(start(world, cases[i].more, &error) >= 0);
                assert_int_equal(waitid(P_PID, (id_t)world->pid, &info, WEXITED), 0);
                world->pidfd = fd_close(world->pidfd);
                world->configuration = configuration_free(world->configuration);
                qemu_last_words(world->directory, words, sizeof(words));
                assert_true(text_starts_with(words, cases[i].begin));
                assert_non_null(strstr(words, " (qemu"));
        }
}

static void test_missing(void **state) {
        struct world *world = *state;
        struct error error = ERROR_INIT;

        if (confine_abi() == 0)
                skip();
        assert_int_equal(start(world, "\"kernel\":\"no-such-kernel\"", &error), -ENOENT);
        assert_non_null(strstr(error.text, "no-such-kernel"));
        assert_null(world->qmp);
}

/* An overlay may stand on the configured image alone: else a guest could have the next start open any file.
 */
static void test_overlay(void **state) {
        struct world *world = *state;
        _cleanup_free_ char *command = text_format(
                "qemu-img create -q -f raw %s/base 1M && qemu-img create -q -f qcow2 -b base -F raw "
                "%s/over.qcow2",
                world->directory, world->directory);
        _cleanup_free_ char *base = text_format("%s/base", world->directory),
                            *moved = text_format("%s/moved", world->directory);
        _cleanup_free_ char *qemu_img = process_find_program("qemu-img", NULL);
        struct error error = ERROR_INIT;

        if (confine_abi() == 0 || !qemu_img)
                skip();
        assert_int_equal(system(command), 0);
        free(world->disk);
        world->disk = text_format("%s/over.qcow2", world->directory);
        const char *const images[] = { "disk.raw", "moved", "base" };
        for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
                _cleanup_free_ char *path = text_format("%s/config.json", world->directory);
                _cleanup_free_ char *text = text_format(
                        "{\"disk\":\"over.qcow2\",\"image\":\"%s\",\"memory_mib\":64,"
                        "\"extra_arguments\":[\"-S\"]}",
                        images[i]);

                write_text(path, text);
                if (i > 0)
                        assert_int_equal(rename(i == 1 ? base : moved, i == 1 ? moved : base), 0);
                world->configuration = configuration_free(world->configuration);
                assert_int_equal(configuration_load(&world->configuration, path, "web", NULL), 0);
                world->pidfd = qemu_spawn(world->configuration, NULL, world->directory, "web", NULL, NULL,
                                          &world->pid, &error);
                if (i == 0) {
                        assert_int_equal(world->pidfd, -EINVAL);
                        assert_non_null(strstr(error.text, "is not the configuration's \"image\""));
                } else if (i == 1) {
                        assert_int_equal(world->pidfd, -ENOENT);
                        assert_non_null(strstr(error.text, "/base, on which "));
                }
        }
        assert_true(world->pidfd >= 0);
        connect_qmp(world);
}

static void test_accelerator(void **state) {
        struct configuration c = { .accelerator = ACCELERATOR_TCG };
        struct error error = ERROR_INIT;

        assert_string_equal(qemu_accelerator(&c, &error), "tcg");
        c.accelerator = ACCELERATOR_AUTO;
        const char *automatic = qemu_accelerator(&c, &error);
        assert_non_null(automatic);
        c.accelerator = ACCELERATOR_KVM;
        if (text_equal(automatic, "kvm")) {
                assert_string_equal(qemu_accelerator(&c, &error), "kvm");
        } else {
                assert_null(qemu_accelerator(&c, &error));
                assert_non_null(strstr(error.text, "demands KVM, and "));
        }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

HARNESS_MAIN(TEST(test_machine), TEST(test_confined), TEST(test_not_confined), TEST(test_microvm),
             TEST(test_refused), TEST(test_refused_in_its_terms), TEST(test_shares), TEST(test_missing),
             TEST(test_overlay),
             cmocka_unit_test(test_accelerator))
