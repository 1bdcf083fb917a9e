/* berth vm create, rm: what is made of options, whole or not at all. */
#include "harness.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "cli/program.h"
#include "fixture.h"

static json_t *load(const struct fixture *fixture, const char *vm) {
        _cleanup_free_ char *path = fixture_path(fixture, vm, "config.json");
        json_t *file = json_load_file(path, 0, NULL);

        assert_non_null(file);
        return file;
}

#define ANY_FILE "/etc/passwd"
#define KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPsXedhFb9NPS3W7EcVBv6mppLD522VJIKCoTyu9pXaS"

static void test_options(void **state) {
        static const struct {
                const char *options[24], *expected; /* without the kernel */
        } cases[] = {
                { { NULL }, "{\"networks\":[{\"network\":\"shared\"}]}" },
                { { "--no-network" }, "{\"networks\":null,\"ssh\":false}" },
                { { "--network", "a", "--network", "b,queues=2" },
                  "{\"networks\":[{\"network\":\"a\"},{\"network\":\"b\",\"queues\":2}]}" },
                { { "--memory", "2G", "--cpus", "4", "--machine", "microvm", "--accelerator", "tcg" },
                  "{\"memory_mib\":2048,\"cpus\":4,\"machine\":\"microvm\",\"accelerator\":\"tcg\"}" },
                { { "--forward", "8080:80", "--forward", "udp:53:53", "--forward", "[::1]:8080:80" },
                  "{\"forwards\":[\"127.0.0.1:8080:80\",\"udp:127.0.0.1:53:53\",\"[::1]:8080:80\"]}" },
                { { "--initrd", ANY_FILE, "--command-line", "a=b c", "--firmware", ANY_FILE },
                  "{\"initrd\":\"/etc/passwd\",\"command_line\":\"a=b c\",\"firmware\":\"/etc/passwd\"}" },
                { { "--ssh-key", KEY " me", "--ssh-user", "admin", "--ssh-port", "2222", "--hostname",
                    "other" },
                  "{\"ssh_keys\":[\"" KEY
                  " me\"],\"ssh_user\":\"admin\",\"ssh_port\":2222,\"hostname\":\"other\"}" },
                { { "--restart", "on-failure", "--stop-timeout", "5", "--no-confine", "--no-ssh" },
                  "{\"restart\":\"on-failure\",\"stop_timeout_seconds\":5,\"confine\":false,\"ssh\":false}" },
                { { "--share", "/etc,read-only" },
                  "{\"shares\":[{\"path\":\"/etc\",\"tag\":\"etc\",\"read_only\":true}]}" },
        };
        struct fixture *fixture = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const char *arguments[32] = { "vm", "create", "web", "--kernel", ANY_FILE };
                _cleanup_free_ char *output = NULL, *directory = fixture_path(fixture, "web", "");
                json_auto_t *expected = json_loads(cases[i].expected, 0, NULL), *file = NULL;
                const char *key;
                json_t *value;
                struct stat st;
                int status;

                for (size_t j = 0; cases[i].options[j]; j++)
                        arguments[5 + j] = cases[i].options[j];
                output = fixture_run(fixture, &status, arguments);
                assert_int_equal(status, 0);
                assert_int_equal(stat(directory, &st), 0);
                assert_int_equal(st.st_mode & 07777, 0700);
                file = load(fixture, "web");
                assert_string_equal(json_string_value(json_object_get(file, "kernel")), ANY_FILE);
                json_object_foreach(expected, key, value)
                        assert_true(json_is_null(value) ? !json_object_get(file, key)
                                                        : json_equal(json_object_get(file, key), value));
                free(output);
                output = fixture_run(fixture, &status, ARGUMENTS("vm", "rm", "web"));
                assert_int_equal(status, 0);
                assert_int_equal(fixture_count_vms(fixture), 0);
        }
}

static void test_refused(void **state) {
        static const struct {
                const char *arguments[16];
                int status;
                const char *reason;
        } cases[] = {
                { { "web" }, 2, "--image FILE or --kernel FILE is missing" },
                { { "web_1", "--kernel", ANY_FILE }, 2, "cannot be a VM's name" },
                { { "../x", "--kernel", ANY_FILE }, 2, "cannot be a VM's name" },
                { { "web", "--kernel", "/nowhere" }, 1, "--kernel: cannot use /nowhere: No such file" },
                { { "web", "--kernel", "/etc" }, 2, "/etc is no file" },
                { { "Host", "--kernel", ANY_FILE }, 2, "\"Host\" cannot be a VM's name" },
                { { "wpad", "--kernel", ANY_FILE }, 2, "\"wpad\" cannot be a VM's name" },
                { { "web", "--image", "/nowhere" }, 1, "cannot use the image /nowhere: No such file" },
                { { "web", "--kernel", ANY_FILE, "--cpus", "0" },
                  2,
                  "--cpus: 0: not a number from 1 to 255" },
                { { "web", "--kernel", ANY_FILE, "--machine", "pc" }, 2, "pc: not one of q35 microvm" },
                { { "web", "--kernel", ANY_FILE, "--machine", "" }, 2, "not one of q35 microvm" },
                { { "web", "--kernel", ANY_FILE, "--restart", "always no" }, 2, "not one of no on-failure" },
                { { "web", "--disk-size", "1G", "--initrd", ANY_FILE }, 2, "of use with --kernel only" },
                { { "web", "--kernel", ANY_FILE, "--image-format", "raw" }, 2, "of use with --image only" },
                { { "web", "--kernel", ANY_FILE, "--network", "a", "--no-network" }, 2, "contradict" },
                { { "web", "--kernel", ANY_FILE, "--network", "a", "--network", "a,isolated" },
                  2,
                  "given twice" },
                { { "web", "--kernel", ANY_FILE, "--network", "a,name=x" },
                  2,
                  "--network: a,name=x: name= is" },
                { { "web", "--kernel", ANY_FILE, "--network", "a,mac=1" },
                  2,
                  "berth: --network a,mac=1: mac=1" },
                { { "web", "--kernel", ANY_FILE, "--no-network", "--forward", "1:1" },
                  2,
                  "--no-network leaves none" },
                { { "web", "--kernel", ANY_FILE, "--forward", "1:1", "--forward", "1:2" }, 2, "given twice" },
                { { "web", "--kernel", ANY_FILE, "--ssh-port", "22", "--no-ssh" }, 2, "contradict" },
                { { "web", "--kernel", ANY_FILE, "--ssh-user", "-oProxyCommand=x" }, 2, "no name of a user" },
                { { "web", "--kernel", ANY_FILE, "--ssh-user", "-v" }, 2, "no name of a user" },
                { { "web", "--kernel", ANY_FILE, "--ssh-key", ANY_FILE }, 2, "holds no public key" },
                { { "web", "--kernel", ANY_FILE, "--user-data", "/proc/sys/kernel/ostype" }, 2, NULL },
                { { "web", "--kernel", ANY_FILE, "--share", "/etc", "--share", "/usr/../etc" },
                  2,
                  "has that tag" },
                { { "web", "--kernel", ANY_FILE, "--hostname", "a.b" }, 2, "no host name" },
                { { "web", "--kernel", ANY_FILE, "--imgae", "x" }, 2, "did you mean --image?" },
                { { "web", "web2", "--kernel", ANY_FILE }, 2, "unexpected web2" },
        };
        struct fixture *fixture = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const char *arguments[20] = { "vm", "create" };
                _cleanup_free_ char *output = NULL;
                int status;

                for (size_t j = 0; cases[i].arguments[j]; j++)
                        arguments[2 + j] = cases[i].arguments[j];
                output = fixture_run(fixture, &status, arguments);
                /* "Linux\n" has two lines to it, of which one is empty: it is taken. */
                if (!cases[i].reason) {
                        assert_int_equal(status, 0);
                        free(output);
                        output = fixture_run(fixture, &status, ARGUMENTS("vm", "rm", "web"));
                        continue;
                }
                assert_int_equal(status, cases[i].status);
                if (!strstr(output, cases[i].reason))
                        print_error("not \"%s\" in: %s", cases[i].reason, output);
                assert_non_null(strstr(output, cases[i].reason));
                assert_int_equal(fixture_count_vms(fixture), 0);
        }
}

/* What only vmhost knows better is not found out at the first start. */
static void test_checked(void **state) {
        static const struct {
                const char *option, *before, *behind; /* given `n` times, around a number */
                int n;
                const char *more[8], *reason;
        } cases[] = {
                { "--forward", "", ":80", 65, { NULL }, "\"forwards\" must be an array of at most 64" },
                { "--share", "/usr,tag=t", "", 17, { NULL }, "\"shares\" must be an array of at most 16" },
                { "--ssh-key", KEY " k", "", 65, { NULL }, "\"ssh_keys\" must be an array of at most 64" },
                { NULL,
                  NULL,
                  NULL,
                  0,
                  { "--share", "/usr,type=virtiofs,read-only" },
                  "cannot be \"read_only\"" },
                { NULL,
                  NULL,
                  NULL,
                  0,
                  { "--memory", "1G", "--memory-limit", "64M" },
                  "less than the VM's memory" },
                { NULL,
                  NULL,
                  NULL,
                  0,
                  { "--ssh-port", "8080", "--forward", "8080:80" },
                  "one of \"forwards\" too" },
                { NULL,
                  NULL,
                  NULL,
                  0,
                  { "--forward", "8080:80", "--forward", "0.0.0.0:8080:81" },
                  "is forwarded already" },
        };
        struct fixture *fixture = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const char *arguments[160] = { "vm", "create", "web", "--kernel", ANY_FILE };
                _cleanup_free_ char *output = NULL;
                char values[65][160];
                size_t n = 5;
                int status;

                for (int j = 0; j < cases[i].n; j++) {
                        snprintf(values[j], sizeof(values[j]), "%s%d%s", cases[i].before, j + 1000,
                                 cases[i].behind);
                        arguments[n++] = cases[i].option;
                        arguments[n++] = values[j];
                }
                for (size_t j = 0; cases[i].more[j]; j++)
                        arguments[n++] = cases[i].more[j];
                output = fixture_run(fixture, &status, arguments);
                if (!strstr(output, cases[i].reason))
                        print_error("not \"%s\" in: %s", cases[i].reason, output);
                assert_non_null(strstr(output, cases[i].reason));
                assert_null(strstr(output, "config.json"));
                assert_int_equal(status, 2);
                assert_int_equal(fixture_count_vms(fixture), 0);
        }
        {
                int status;
                _cleanup_free_ char *output = fixture_run(
                        fixture, &status,
                        ARGUMENTS("vm", "create", "web", "--disk-size", "1G", "--machine", "microvm"));

                assert_string_equal(output,
                                    "berth: a \"microvm\" needs a \"kernel\": it has no firmware for disks\n"
                                    "berth: `berth vm create --help` shows how it is used\n");
                assert_int_equal(status, 2);
                assert_int_equal(fixture_count_vms(fixture), 0);
        }
}

static void test_exists(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *first = NULL, *second = NULL;
        json_auto_t *file = NULL;
        int status;

        first = fixture_run(fixture, &status,
                            ARGUMENTS("vm", "create", "web", "--kernel", ANY_FILE, "--cpus", "3"));
        assert_int_equal(status, 0);
        second = fixture_run(fixture, &status, ARGUMENTS("vm", "create", "web", "--kernel", ANY_FILE));
        assert_int_equal(status, 1);
        assert_non_null(strstr(second, "VM web exists already\nberth: `berth vm rm web` removes it"));
        assert_int_equal(fixture_count_vms(fixture), 1);
        file = load(fixture, "web");
        assert_int_equal(json_integer_value(json_object_get(file, "cpus")), 3);
}

/* Of several that make the same VM at the same time, one does. */
static void test_race(void **state) {
        struct fixture *fixture = *state;
        const char *argv[] = { BERTH, "vm", "create", "web", "--kernel", ANY_FILE, NULL };
        struct program programs[6];
        size_t made = 0;

        for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
                assert_int_equal(program_start(&programs[i], argv, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
                made += program_wait(&programs[i]) == 0;
                program_deinit(&programs[i]);
        }
        assert_int_equal(made, 1);
        assert_int_equal(fixture_count_vms(fixture), 1);
}

/* What commands that were killed left is cleared by the next, and nothing that somebody is at work on, or
 * that is not a directory of ours. */
static void test_leftovers(void **state) {
        static const struct {
                const char *name;
                bool old, locked, link, stays;
        } cases[] = {
                { ".berth-making-old.AAAAAA", true, false, false, false },
                { ".berth-removing-my.old_1.AAAAAA", true, false, false, false },
                { ".berth-making-busy.BBBBBB", true, true, false, true },
                { ".berth-making-new.CCCCCC", false, false, false, true },
                { ".berth-making-link.DDDDDD", true, false, true, true },
                { "other", true, false, false, true },
                /* Other people's, though they begin with a dot. */
                { ".git", true, false, false, true },
                { ".snapshots", true, false, false, true },
                { ".Trash-1000", true, false, false, true },
                { ".web.AAAAAA", true, false, false, true },
                { ".berth-making-web", true, false, false, true },
                { ".berth-making-.AAAAAA", true, false, false, true },
                { ".berth-making-web.AAAAA", true, false, false, true },
                { ".berth-making-web.AAAA-A", true, false, false, true },
                { ".berth-making-web.AAAAAAA", true, false, false, true },
                { ".berth-keeping-web.AAAAAA", true, false, false, true },
        };
        const struct timespec long_ago[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL;
        int fds[ARRAY_SIZE(cases)], status;

        fixture_make_vm(fixture, "target");
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *path = text_format("%s/vms/%s", fixture->config, cases[i].name);
                _cleanup_free_ char *file = text_format("%s/disk.qcow2", path);

                assert_int_equal(cases[i].link ? symlink("target", path) : mkdir(path, 0700), 0);
                if (!cases[i].link)
                        assert_int_equal(file_write(file, "x", 1, 0600, false, NULL), 0);
                if (cases[i].old)
                        assert_int_equal(utimensat(AT_FDCWD, path, long_ago, AT_SYMLINK_NOFOLLOW), 0);
                fds[i] = cases[i].locked ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
                if (cases[i].locked)
                        assert_int_equal(flock(fds[i], LOCK_EX | LOCK_NB), 0);
        }
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "create", "web", "--kernel", ANY_FILE));
        assert_int_equal(status, 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *path = text_format("%s/vms/%s", fixture->config, cases[i].name);
                struct stat st;

                if ((lstat(path, &st) == 0) != cases[i].stays)
                        fail_msg("%s %s", cases[i].name, cases[i].stays ? "is gone" : "is still there");
                fd_close(fds[i]);
        }
        _cleanup_free_ char *configuration = fixture_path(fixture, "target", "config.json");
        assert_int_equal(access(configuration, F_OK), 0);
}

/* In a mount namespace of its own. The exit code. */
static int sweep_beside_mounts(struct fixture *fixture) {
        static const char *const points[] = { ".berth-making-a.AAAAAA", ".berth-making-b.AAAAAA/in\tside" };
        const struct timespec long_ago[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
        _cleanup_free_ char *keep = text_format("%s/keep", fixture->config), *output = NULL;
        _cleanup_free_ char *file = text_format("%s/file", keep);
        int status;

        if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return 77;
        assert_int_equal(file_make_directory(keep, 0700, NULL), 0);
        assert_int_equal(file_write(file, "x", 1, 0600, false, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
                _cleanup_free_ char *point = text_format("%s/vms/%s", fixture->config, points[i]);

                assert_int_equal(file_make_directory(point, 0700, NULL), 0);
                if (mount(keep, point, NULL, MS_BIND, NULL) < 0)
                        return 77;
                if (strchr(points[i], '/'))
                        *strrchr(point, '/') = '\0';
                assert_int_equal(utimensat(AT_FDCWD, point, long_ago, 0), 0);
        }
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "create", "web", "--kernel", ANY_FILE));
        return status == 0 && access(file, F_OK) == 0 && fixture_count_vms(fixture) == 3 ? 0 : 1;
}

/* What is mounted where something was half made is not of the making. */
static void test_leftovers_mounted(void **state) {
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
                _exit(sweep_beside_mounts(*state));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
                skip();
        assert_int_equal(WEXITSTATUS(status), 0);
}

/* A vmhost that has the lock, and a QEMU whose vmhost was killed, keep a VM from being removed. */
static void test_rm_running(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *lock = NULL, *output = NULL, *text = NULL;
        char boot_id[37];
        uint64_t start_time;
        int fd, status;

        fixture_make_vm(fixture, "web");
        lock = fixture_path(fixture, "web", "vmhost.lock");
        fd = file_lock(lock, false, NULL);
        assert_true(fd >= 0);
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "rm", "web"));
        assert_int_equal(status, 1);
        assert_non_null(strstr(output, "VM web is running\nberth: `berth vm stop web` shuts it down"));
        fd_close(fd);
        free(output);

        assert_int_equal(process_boot_id(boot_id), 0);
        assert_int_equal(process_start_time(getpid(), &start_time), 0);
        text = text_format(
                "{\"phase\":\"running\",\"run\":{\"pid\":%d,\"start_time\":%llu,\"boot_id\":\"%s\"}}",
                (int)getpid(), (unsigned long long)start_time, boot_id);
        fixture_write(fixture, "web", "state.json", text);
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "rm", "web"));
        assert_int_equal(status, 1);
        assert_int_equal(fixture_count_vms(fixture), 1);
        free(output);
        free(text);

        /* The same pid of another time is nobody. */
        text = text_format(
                "{\"phase\":\"running\",\"run\":{\"pid\":%d,\"start_time\":%llu,\"boot_id\":\"%s\"}}",
                (int)getpid(), (unsigned long long)start_time + 1, boot_id);
        fixture_write(fixture, "web", "state.json", text);
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "rm", "web"));
        assert_int_equal(status, 0);
        assert_int_equal(fixture_count_vms(fixture), 0);
}

/* In a mount namespace of its own. The exit code. */
static int rm_mounted(struct fixture *fixture) {
        static const char *const points[] = { "in side", "" };
        _cleanup_free_ char *keep = text_format("%s/keep", fixture->config);
        _cleanup_free_ char *file = text_format("%s/file", keep);

        if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return 77;
        fixture_make_vm(fixture, "web");
        assert_int_equal(file_make_directory(keep, 0700, NULL), 0);
        assert_int_equal(file_write(file, "x", 1, 0600, false, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
                _cleanup_free_ char *point = fixture_path(fixture, "web", points[i]), *output = NULL;
                _cleanup_free_ char *configuration = fixture_path(fixture, "web", "config.json");
                int status;

                assert_int_equal(file_make_directory(point, 0700, NULL), 0);
                if (point[strlen(point) - 1] == '/')
                        point[strlen(point) - 1] = '\0';
                if (mount(keep, point, NULL, MS_BIND, NULL) < 0)
                        return 77;
                _cleanup_free_ char *expected = text_format("something is mounted at %s\n", point);
                output = fixture_run(fixture, &status, ARGUMENTS("vm", "rm", "web"));
                if (status != 1 || !strstr(output, expected) || access(file, F_OK) < 0 || umount(point) < 0 ||
                    access(configuration, F_OK) < 0 || fixture_count_vms(fixture) != 1)
                        return 1;
        }
        return 0;
}

/* Nothing of it is touched, and what is in the way is named. */
static void test_rm_mounted(void **state) {
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
                _exit(rm_mounted(*state));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
                skip();
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_rm_link(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *link = text_format("%s/vms/web", fixture->config);
        _cleanup_free_ char *elsewhere = text_format("%s/elsewhere", fixture->config), *output = NULL;
        _cleanup_free_ char *configuration = text_format("%s/config.json", elsewhere);
        _cleanup_free_ char *expected = text_format("vms/web is a link to %s\n", elsewhere);
        int status;

        fixture_make_vm(fixture, "web");
        assert_int_equal(rename(link, elsewhere), 0);
        assert_int_equal(symlink(elsewhere, link), 0);
        output = fixture_run(fixture, &status, ARGUMENTS("vm", "rm", "web"));
        assert_int_equal(status, 1);
        assert_non_null(strstr(output, expected));
        assert_int_equal(access(configuration, F_OK), 0);
        assert_int_equal(fixture_count_vms(fixture), 1);
}

/* A link that leads nowhere and a file in a VM's place: each command says what it is, and rm removes the
 * link. */
static void test_no_directory(void **state) {
        static const char *const commands[][6] = {
                { "vm", "create", "web", "--kernel", ANY_FILE },
                { "vm", "start", "web" },
                { "vm", "rm", "web" },
        };
        struct fixture *fixture = *state;
        _cleanup_free_ char *entry = text_format("%s/vms/web", fixture->config);
        _cleanup_free_ char *parent = text_format("%s/vms", fixture->config), *removed = NULL;
        int status;

        assert_int_equal(file_make_directory(parent, 0700, NULL), 0);
        assert_int_equal(file_write(entry, "mine", 4, 0600, false, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
                _cleanup_free_ char *output = fixture_run(fixture, &status, commands[i]);

                assert_int_equal(status, 1);
                assert_non_null(strstr(output, "/vms/web is no directory\nberth: move it away"));
                assert_int_equal(access(entry, F_OK), 0);
        }
        assert_int_equal(unlink(entry), 0);
        assert_int_equal(symlink("/nowhere/web", entry), 0);
        for (size_t i = 0; i + 1 < ARRAY_SIZE(commands); i++) {
                _cleanup_free_ char *output = fixture_run(fixture, &status, commands[i]);

                assert_int_equal(status, 1);
                assert_non_null(strstr(output, "link to what is not there\nberth: `berth vm rm web`"));
                assert_int_equal(fixture_count_vms(fixture), 1);
        }
        removed = fixture_run(fixture, &status, ARGUMENTS("vm", "rm", "--force", "web"));
        assert_int_equal(status, 0);
        assert_int_equal(fixture_count_vms(fixture), 0);
}

/* ---- Images, by the real qemu-img ---- */

static void qemu_img(const char *const *argv) {
        struct error error = ERROR_INIT;

        if (program_run(argv, NULL, &error) < 0)
                fail_msg("%s", error.text);
}

static bool has_qemu_img(void) {
        _cleanup_free_ char *path = process_find_program("qemu-img", NULL);

        return path;
}

static void test_overlay(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *base = text_format("%s/base.img", fixture->config), *output = NULL, *info = NULL;
        _cleanup_free_ char *disk = fixture_path(fixture, "web", "disk.qcow2"), *small = NULL;
        json_auto_t *facts = NULL, *file = NULL;
        int status;

        if (!has_qemu_img())
                skip();
        /* What begins like a qcow2 file and is said to be raw stays raw. */
        qemu_img(ARGUMENTS("qemu-img", "create", "-q", "-f", "qcow2", base, "64M"));
        small = fixture_run(fixture, &status,
                            ARGUMENTS("vm", "create", "raw", "--image", base, "--image-format", "raw"));
        assert_int_equal(status, 0);
        output = fixture_run(fixture, &status,
                             ARGUMENTS("vm", "create", "web", "--image", base, "--disk-size", "2G"));
        assert_int_equal(status, 0);
        assert_int_equal(program_run(ARGUMENTS("qemu-img", "info", "--output=json", disk), &info, NULL), 0);
        facts = json_loads(info, 0, NULL);
        assert_string_equal(json_string_value(json_object_get(facts, "format")), "qcow2");
        assert_string_equal(json_string_value(json_object_get(facts, "backing-filename")), base);
        assert_string_equal(json_string_value(json_object_get(facts, "backing-filename-format")), "qcow2");
        assert_int_equal(json_integer_value(json_object_get(facts, "virtual-size")), 2LL << 30);
        file = load(fixture, "web");
        assert_string_equal(json_string_value(json_object_get(file, "image")), base);
        assert_string_equal(json_string_value(json_object_get(file, "disk")), "disk.qcow2");
        assert_int_equal(json_integer_value(json_object_get(file, "disk_size_gib")), 2);
        free(info);
        free(disk);
        disk = fixture_path(fixture, "raw", "disk.qcow2");
        assert_int_equal(program_run(ARGUMENTS("qemu-img", "info", "--output=json", disk), &info, NULL), 0);
        assert_non_null(strstr(info, "\"backing-filename-format\": \"raw\""));
}

/* The configuration is JSON: what cannot stand in it is told with the option, and what to do. */
static void test_not_utf8(void **state) {
        static const char *const options[] = { "--kernel", "--image" };
        struct fixture *fixture = *state;
        _cleanup_free_ char *image = text_format("%s/b\xe4se.img", fixture->config);

        if (!has_qemu_img())
                skip();
        qemu_img(ARGUMENTS("qemu-img", "create", "-q", "-f", "raw", image, "64M"));
        for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
                _cleanup_free_ char *output = NULL;
                _cleanup_free_ char *expected = text_format("berth: %s: the path %s/b", options[i],
                                                            fixture->config);
                int status;

                output = fixture_run(fixture, &status, ARGUMENTS("vm", "create", "web", options[i], image));
                assert_int_not_equal(status, 0);
                assert_true(text_starts_with(output, expected));
                assert_non_null(strstr(output, "is not UTF-8"));
                assert_non_null(strstr(output, "\nberth: rename what has that name"));
        }
}

/* What is opened in the place of a stream that the caller closed is not taken for that. */
static void test_closed_streams(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *image = text_format("%s/base.img", fixture->config);

        if (!has_qemu_img())
                skip();
        qemu_img(ARGUMENTS("qemu-img", "create", "-q", "-f", "raw", image, "64M"));
        for (int closed = 0; closed <= 3; closed++) {
                _cleanup_free_ char *name = text_format("web%d", closed);
                int status;
                pid_t pid = fork();

                assert_true(pid >= 0);
                if (pid == 0) {
                        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

                        for (int fd = 0; fd < 3; fd++)
                                if (fd == closed || closed == 3)
                                        close(fd);
                                else
                                        dup2(null, fd);
                        execl(BERTH, BERTH, "vm", "create", name, "--image", image, (char *)NULL);
                        _exit(99);
                }
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_int_equal(status, 0);
        }
        assert_int_equal(fixture_count_vms(fixture), 4);
}

/* What QEMU does to an image that it writes to (block/file-posix.c): byte 101 says that somebody does. Returns the fd. */
static int hold(const char *image) {
        struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1 };
        int fd = open(image, O_RDWR | O_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
        return fd;
}

static void test_bad_images(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *base = text_format("%s/base.qcow2", fixture->config);
        _cleanup_free_ char *layer = text_format("%s/layer.img", fixture->config);
        _cleanup_free_ char *lying = text_format("%s/lying.raw", fixture->config);
        _cleanup_free_ char *broken = text_format("%s/broken.qcow2", fixture->config);
        _cleanup_free_ char *other = text_format("%s/other.vmdk", fixture->config);
        _cleanup_free_ char *large = text_format("%s/large.img", fixture->config);
        _cleanup_free_ char *empty = text_format("%s/empty.img", fixture->config);
        _cleanup_free_ char *held = text_format("%s/held.qcow2", fixture->config);
        _cleanup_fd_ int holder = -1;
        const struct {
                const char *arguments[4], *reason;
        } cases[] = {
                { { layer }, "is not whole without" },
                { { lying }, "is called raw and has the content of a qcow2 image" },
                { { broken }, "is called qcow2 and is none" },
                { { broken, "--image-format", "qcow2" }, "not in qcow2 format" },
                { { other }, "is a vmdk image; raw and qcow2" },
                { { large, "--disk-size", "1G" }, "the image holds a disk of 2 GiB already" },
                { { empty }, "holds no disk" },
                { { "/dev/null" }, "/dev/null is no file" },
                { { held }, "held.qcow2 is in use: another program writes to it" },
        };

        if (!has_qemu_img())
                skip();
        qemu_img(ARGUMENTS("qemu-img", "create", "-q", "-f", "qcow2", base, "1M"));
        qemu_img(ARGUMENTS("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, layer));
        qemu_img(ARGUMENTS("qemu-img", "create", "-q", "-f", "qcow2", lying, "1M"));
        qemu_img(ARGUMENTS("qemu-img", "create", "-q", "-f", "qcow2", held, "1M"));
        holder = hold(held);
        qemu_img(ARGUMENTS("qemu-img", "create", "-q", "-f", "vmdk", other, "1M"));
        qemu_img(ARGUMENTS("qemu-img", "create", "-q", "-f", "raw", large, "2G"));
        assert_int_equal(file_write(broken, "not a disk", 10, 0600, false, NULL), 0);
        assert_int_equal(file_write(empty, "", 0, 0600, false, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const char *arguments[16] = { "vm", "create", "web", "--image" };
                _cleanup_free_ char *output = NULL;
                int status;

                for (size_t j = 0; cases[i].arguments[j]; j++)
                        arguments[4 + j] = cases[i].arguments[j];
                output = fixture_run(fixture, &status, arguments);
                assert_int_equal(status, 1);
                if (!strstr(output, cases[i].reason))
                        print_error("not \"%s\" in: %s", cases[i].reason, output);
                assert_non_null(strstr(output, cases[i].reason));
                assert_int_equal(fixture_count_vms(fixture), 0);
        }
}

HARNESS_MAIN(WITH_FIXTURE(test_options), WITH_FIXTURE(test_refused), WITH_FIXTURE(test_checked),
             WITH_FIXTURE(test_exists), WITH_FIXTURE(test_race), WITH_FIXTURE(test_leftovers),
             WITH_FIXTURE(test_leftovers_mounted), WITH_FIXTURE(test_rm_running),
             WITH_FIXTURE(test_rm_mounted), WITH_FIXTURE(test_rm_link), WITH_FIXTURE(test_no_directory),
             WITH_FIXTURE(test_overlay), WITH_FIXTURE(test_closed_streams), WITH_FIXTURE(test_not_utf8),
             WITH_FIXTURE(test_bad_images))
