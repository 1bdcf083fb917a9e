/* The program itself: its start and its end as others see them, with a fake, and with a QEMU that boots
 * nothing. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "harness.h"
#include "loop/loop.h"
#include "vmhost/endpoint.h"
#include "vmhost/log-file.h"

struct vm {
        char *root; /* --config-dir */
        char *directory;
        char output[4096]; /* of the last start */
        bool ignores_children; /* as the one who starts it may */
};

static void setup(struct vm *vm) {
        *vm = (struct vm){ .root = harness_make_directory() };
        vm->directory = text_format("%s/vms/web", vm->root);
        assert_int_equal(file_make_directory(vm->directory, 0755, NULL), 0);
}

static void teardown(struct vm *vm) {
        free(vm->directory);
        harness_remove_directory(vm->root);
}

/* Runs the program with these arguments, up to a NULL, and returns its exit status when it has left us. */
static int run_program(struct vm *vm, ...) {
        const char *argv[16] = { VMHOST };
        int fds[2], status;
        size_t n = 1, size = 0;
        ssize_t got;
        va_list ap;

        va_start(ap, vm);
        while ((argv[n] = va_arg(ap, const char *)))
                assert_true(++n < ARRAY_SIZE(argv));
        va_end(ap);
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                dup2(fds[1], STDOUT_FILENO);
                dup2(fds[1], STDERR_FILENO);
                if (vm->ignores_children)
                        signal(SIGCHLD, SIG_IGN);
                execv(VMHOST, (char **)argv);
                _exit(127);
        }
        close(fds[1]);
        /* Until all have closed it: the one that stays behind has left our standard output. */
        while ((got = read(fds[0], vm->output + size, sizeof(vm->output) - 1 - size)) > 0)
                size += (size_t)got;
        vm->output[size] = '\0';
        close(fds[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

/* Who is told that a start failed may try the next one at once. */
static int startable(const struct vm *vm, int status) {
        char *path = text_format("%s/vmhost.lock", vm->directory);
        int fd = status == EXIT_FAILURE || status == 4 ? file_lock(path, false, NULL) : -ENOENT;

        assert_int_not_equal(fd, -EWOULDBLOCK);
        if (fd >= 0)
                close(fd);
        free(path);
        return status;
}

static int start_fake(struct vm *vm, const char *behaviour) {
        return startable(vm, run_program(vm, "--name", "web", "--backend", "fake", "--config-dir", vm->root,
                                         "--fake-behaviour", behaviour, NULL));
}

static char *read_file(const struct vm *vm, const char *name) {
        char *path = text_format("%s/%s", vm->directory, name), *text;
        size_t size;

        assert_int_equal(file_read(path, 65536, &text, &size, NULL), 0);
        free(path);
        return text;
}

static bool has_file(const struct vm *vm, const char *name) {
        char *path = text_format("%s/%s", vm->directory, name);
        bool has = access(path, F_OK) == 0;

        free(path);
        return has;
}

static void write_file(const struct vm *vm, const char *name, const char *text) {
        char *path = text_format("%s/%s", vm->directory, name);

        assert_int_equal(file_write(path, text, strlen(text), 0644, false, NULL), 0);
        free(path);
}

static pid_t pid_of(const struct vm *vm) {
        char *text = read_file(vm, "vmhost.pid");
        pid_t pid = atoi(text);

        free(text);
        return pid;
}

/* The answer to a request: new. */
static char *ask(const struct vm *vm, const char *request) {
        char *path = text_format("%s/vmhost.sock", vm->directory), *reply = calloc(1, 65536);
        int fd = fd_connect_unix(path);
        size_t size = 0;
        ssize_t n;

        assert_true(fd >= 0);
        assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
        while ((n = read(fd, reply + size, 65535 - size)) > 0)
                size += (size_t)n;
        assert_int_equal(n, 0);
        close(fd);
        free(path);
        return reply;
}

static void assert_told(const struct vm *vm, const char *request, const char *part) {
        char *reply = ask(vm, request);

        if (!strstr(reply, part))
                print_message("# no %s in %s\n", part, reply);
        assert_non_null(strstr(reply, part));
        free(reply);
}

static void await(const struct vm *vm, const char *request, const char *part) {
        for (bool found = false; !found;) {
                char *reply = ask(vm, request);
                found = strstr(reply, part);
                free(reply);
        }
}

/* Sends a signal (0: none), and waits for the process's end. */
static void end_by(pid_t pid, int signal) {
        int pidfd = process_open(pid);
        struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };

        if (pidfd == -ESRCH)
                return;
        assert_true(pidfd >= 0);
        if (signal)
                assert_int_equal(process_signal(pidfd, signal), 0);
        assert_int_equal(poll(&poll_fd, 1, 60000), 1);
        close(pidfd);
}

static void test_usage(void **state) {
        struct vm vm;

        setup(&vm);
        assert_int_equal(run_program(&vm, "--help", NULL), 0);
        assert_non_null(strstr(vm.output, "Usage: vmhost"));
        assert_int_equal(run_program(&vm, "--name", "web", NULL), 2);
        assert_int_equal(run_program(&vm, "--backend", "qemu", NULL), 2);
        assert_int_equal(run_program(&vm, "--name", "../web", "--backend", "qemu", NULL), 2);
        assert_int_equal(run_program(&vm, "--name", "web", "--backend", "xen", NULL), 2);
        assert_int_equal(
                run_program(&vm, "--name", "other", "--backend", "qemu", "--config-dir", vm.root, NULL), 1);
        assert_non_null(strstr(vm.output, "vmhost: no VM \"other\""));

        /* A mistake in the file comes back to the one who starts. */
        write_file(&vm, "config.json", "{\n  \"cpus\": \"two\"\n}\n");
        assert_int_equal(
                run_program(&vm, "--name", "web", "--backend", "qemu", "--config-dir", vm.root, NULL), 1);
        assert_non_null(strstr(vm.output, "config.json:2: "));
        assert_false(has_file(&vm, "vmhost.pid"));
        assert_false(has_file(&vm, "vmhost.sock"));
        teardown(&vm);
}

static void test_detached(void **state) {
        struct vm vm;
        char path[64], target[256];

        setup(&vm);
        assert_int_equal(start_fake(&vm, "deaf"), 0);
        assert_string_equal(vm.output, "");
        pid_t pid = pid_of(&vm);
        assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* no child of ours */
        assert_true(getsid(pid) != getsid(0));
        assert_true(getsid(pid) != pid); /* and never one with a terminal */
        snprintf(path, sizeof(path), "/proc/%d/cwd", (int)pid);
        ssize_t n = readlink(path, target, sizeof(target));
        assert_true(n == 1 && target[0] == '/');

        /* A second one is refused, and takes nothing away. */
        assert_int_equal(start_fake(&vm, "prompt"), 3);
        assert_non_null(strstr(vm.output, "vmhost: VM \"web\" has a vmhost already, process "));
        assert_int_equal(pid_of(&vm), pid);
        assert_told(&vm, "{\"method\":\"status\"}", "{\"ok\":true,\"state\":\"running\"");

        /* A terminal that closes is nothing to it; SIGTERM is a stop. */
        kill(pid, SIGHUP);
        assert_told(&vm, "{\"method\":\"status\"}", "\"phase\":\"running\"");
        kill(pid, SIGTERM);
        await(&vm, "{\"method\":\"status\"}", "\"phase\":\"stopping\"");
        free(ask(&vm, "{\"method\":\"force_stop\"}"));
        end_by(pid, 0);
        assert_false(has_file(&vm, "vmhost.pid"));
        assert_false(has_file(&vm, "vmhost.sock"));
        char *text = read_file(&vm, "state.json");
        assert_non_null(strstr(text, "\"wanted\": \"stopped\""));
        free(text);
        teardown(&vm);
}

/* A lock of whoever started it is not held for the VM's life. */
static void test_inherits_nothing(void **state) {
        struct vm vm;

        setup(&vm);
        char *path = text_format("%s/lock", vm.root);
        int fd = open(path, O_RDWR | O_CREAT, 0600); /* without CLOEXEC */
        assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
        assert_int_equal(start_fake(&vm, "prompt"), 0);
        close(fd);
        fd = open(path, O_RDWR | O_CLOEXEC);
        assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
        close(fd);
        free(path);
        pid_t pid = pid_of(&vm);
        free(ask(&vm, "{\"method\":\"stop\"}"));
        end_by(pid, 0);
        teardown(&vm);
}

static void test_what_is_stale(void **state) {
        struct vm vm;
        char own[16];

        /* One that was killed leaves all behind; its pid is another's now. */
        setup(&vm);
        assert_int_equal(start_fake(&vm, "prompt"), 0);
        end_by(pid_of(&vm), SIGKILL);
        assert_true(has_file(&vm, "vmhost.sock"));
        snprintf(own, sizeof(own), "%d", (int)getpid());
        write_file(&vm, "vmhost.pid", own);
        assert_int_equal(start_fake(&vm, "prompt"), 0);
        pid_t pid = pid_of(&vm);
        assert_true(pid != getpid());
        free(ask(&vm, "{\"method\":\"stop\"}"));
        end_by(pid, 0);

        /* Somebody who listens without the lock, as other programs do, is left alone. */
        char *path = text_format("%s/vmhost.sock", vm.directory);
        int fd = fd_listen_unix(path, 0600);
        assert_true(fd >= 0);
        assert_int_equal(start_fake(&vm, "prompt"), 1);
        assert_non_null(strstr(vm.output, "another program listens"));
        assert_true(has_file(&vm, "vmhost.sock"));
        assert_false(has_file(&vm, "vmhost.pid"));

        /* Also one that is stopped, and whose queue is full: of the start before. */
        assert_int_equal(listen(fd, 0), 0);
        assert_int_equal(endpoint_connect(vm.directory, "vmhost.sock"), -EAGAIN);
        assert_int_equal(start_fake(&vm, "prompt"), 1);
        assert_non_null(strstr(vm.output, "another program listens"));
        close(fd);
        free(path);
        teardown(&vm);
}

/* Whether somebody listens at the socket by now. */
static void await_socket(const struct vm *vm) {
        int fd;

        while ((fd = endpoint_connect(vm->directory, "vmhost.sock")) < 0)
                assert_true(fd == -ENOENT || fd == -ECONNREFUSED);
        close(fd);
}

/* Other programs remove what they take for stale. */
static void test_what_is_removed(void **state) {
        struct vm vm;

        setup(&vm);
        char *socket = text_format("%s/vmhost.sock", vm.directory);
        char *pid_file = text_format("%s/vmhost.pid", vm.directory);
        assert_int_equal(start_fake(&vm, "prompt"), 0);
        pid_t pid = pid_of(&vm);
        assert_int_equal(unlink(pid_file), 0);
        assert_int_equal(unlink(socket), 0);
        await_socket(&vm);
        assert_told(&vm, "{\"method\":\"status\"}", "\"state\":\"running\"");
        assert_int_equal(pid_of(&vm), pid); /* written before the socket listens */
        assert_int_equal(start_fake(&vm, "prompt"), 3);

        /* What another made in its place is another's. */
        write_file(&vm, "vmhost.pid", "x");
        free(ask(&vm, "{\"method\":\"stop\"}"));
        end_by(pid, 0);
        assert_false(has_file(&vm, "vmhost.sock"));
        char *text = read_file(&vm, "vmhost.pid");
        assert_string_equal(text, "x");
        free(text);
        free(pid_file);
        free(socket);
        teardown(&vm);
}

/* A starter that is suspended, or whose terminal takes nothing, is not the VM's vmhost. */
static void test_stopped_starter(void **state) {
        struct vm vm;

        setup(&vm);
        pid_t starter = fork();
        assert_true(starter >= 0);
        if (starter == 0) {
                execl(VMHOST, VMHOST, "--name", "web", "--backend", "fake", "--config-dir", vm.root,
                      "--fake-behaviour", "slow", NULL);
                _exit(127);
        }
        await_socket(&vm);
        /* It has given up its copy of the lock when it waits for word. */
        assert_true(harness_wait_until_asleep(starter));
        assert_int_equal(kill(starter, SIGSTOP), 0);
        end_by(pid_of(&vm), SIGKILL);
        assert_int_equal(start_fake(&vm, "prompt"), 0);
        pid_t pid = pid_of(&vm);
        free(ask(&vm, "{\"method\":\"stop\"}"));
        end_by(pid, 0);
        kill(starter, SIGKILL);
        assert_int_equal(waitpid(starter, NULL, 0), starter);
        teardown(&vm);
}

static void test_start_that_fails(void **state) {
        struct vm vm;

        setup(&vm);
        /* Stopped before it was up: the starter waits no longer. */
        assert_int_equal(run_program(&vm, "--name", "web", "--backend", "fake", "--config-dir", vm.root,
                                     "--no-wait", "--fake-behaviour", "slow", NULL),
                         0);
        assert_told(&vm, "{\"method\":\"status\"}", "{\"ok\":false,\"error\":\"the VM is not up yet");
        pid_t pid = pid_of(&vm);
        free(ask(&vm, "{\"method\":\"stop\"}"));
        end_by(pid, 0);

        teardown(&vm);
}

/* ---- With QEMU: firmware that finds nothing to boot is guest enough ---- */

static void configure(const struct vm *vm, const char *more) {
        char *text = text_format(
                "{\"disk\":\"disk.raw\",\"disk_format\":\"raw\",\"memory_mib\":64,\"cpus\":1,"
                "\"networks\":[],\"ssh\":false%s}",
                more);
        char *disk = text_format("%s/disk.raw", vm->directory);

        write_file(vm, "config.json", text);
        write_file(vm, "disk.raw", "");
        assert_int_equal(truncate(disk, 1024 * 1024), 0);
        free(disk);
        free(text);
}

static int start_qemu(struct vm *vm) {
        return startable(vm,
                         run_program(vm, "--name", "web", "--backend", "qemu", "--config-dir", vm->root, NULL));
}

static int adopt_qemu(struct vm *vm) {
        return startable(vm, run_program(vm, "--name", "web", "--backend", "qemu", "--config-dir", vm->root,
                                         "--adopt", NULL));
}

static void need_qemu(void) {
        char *path = process_find_program("qemu-system-x86_64", NULL);

        if (!path)
                skip();
        free(path);
}

/* The value of a key of an object in state.json: new. */
static json_t *read_state(const struct vm *vm, const char *object, const char *key) {
        char *text = read_file(vm, "state.json");
        json_t *state = json_loads(text, 0, NULL);
        json_t *value = json_incref(json_object_get(json_object_get(state, object), key));

        free(text);
        json_decref(state);
        return value;
}

static pid_t qemu_of(const struct vm *vm) {
        json_t *pid = read_state(vm, "run", "pid");
        pid_t value = (pid_t)json_integer_value(pid);

        json_decref(pid);
        assert_true(value > 0);
        return value;
}

static void assert_ended(const struct vm *vm, const char *by, const char *stage) {
        json_t *found_by = read_state(vm, "last_end", "by"),
               *found_stage = read_state(vm, "last_end", "stage");

        assert_string_equal(json_string_value(found_by), by);
        assert_string_equal(json_string_value(found_stage), stage);
        json_decref(found_by);
        json_decref(found_stage);
}

/* Whether QEMU ended when it was told to. `until` milliseconds from `begun` a stop's plan has it wait for that before it
 * sends a signal: on a machine that is so busy elsewhere it is told once more, in another run. */
static bool has_quit(const struct vm *vm, uint64_t begun, uint64_t until) {
        json_t *stage = read_state(vm, "last_end", "stage");
        bool quit = text_equal(json_string_value(stage), "quit");

        json_decref(stage);
        assert_true(quit || loop_now() - begun >= until * 1000);
        return quit;
}

static void test_qemu_that_fails(void **state) {
        struct vm vm;

        need_qemu();
        setup(&vm);
        configure(&vm, ",\"extra_arguments\":[\"-nonsense\"]");
        assert_int_equal(start_qemu(&vm), 1);
        assert_non_null(strstr(vm.output, "-nonsense: invalid option")); /* its own words are the reason */

        /* Long ones too, that are cut within a character. */
        for (int shift = 0; shift < 2; shift++) {
                char words[300] = "";
                for (int i = 0; i < 130; i++)
                        strcat(words, "\u00fc");
                char *more = text_format(",\"extra_arguments\":[\"-%s%s\"]", shift ? "x" : "", words);
                configure(&vm, more);
                free(more);
                assert_int_equal(start_qemu(&vm), 1);
                assert_non_null(strstr(vm.output, "QEMU did not start: "));
                assert_ended(&vm, "crash", "none");
                char *log = read_file(&vm, "vmhost.log");
                assert_non_null(strstr(log, "failed: QEMU did not start: "));
                free(log);
        }
        teardown(&vm);
}

/* Starts the program, waiting or not, where systemd takes its time when it is asked for the limits. Its
 * starter; *ret is what systemd waits for. */
static pid_t start_limited(struct vm *vm, bool wait, int *ret) {
        static const char busctl[] = "#!/bin/sh\nd=${0%/*}\necho $$ >$d/pid\nread never <$d/fifo\n";
        _cleanup_free_ char *path = strdup(getenv("PATH")), *longer = NULL, *tool = NULL, *fifo = NULL;

        longer = text_format("%s:%s", vm->directory, path);
        tool = text_format("%s/busctl", vm->directory);
        fifo = text_format("%s/fifo", vm->directory);
        assert_int_equal(file_write(tool, busctl, strlen(busctl), 0755, false, NULL), 0);
        assert_int_equal(mkfifo(fifo, 0600), 0);
        configure(vm, ",\"memory_limit_mib\":512");
        setenv("PATH", longer, 1);
        pid_t starter = fork();
        assert_true(starter >= 0);
        if (starter == 0)
                _exit(wait ? start_qemu(vm)
                           : run_program(vm, "--name", "web", "--backend", "qemu", "--config-dir", vm->root,
                                         "--no-wait", NULL));
        setenv("PATH", path, 1);
        /* It reads, and so runs, when this opens. */
        *ret = open(fifo, O_WRONLY | O_CLOEXEC);
        assert_true(*ret >= 0);
        return starter;
}

/* While systemd is asked for the limits, and takes its time. */
static void test_stopped_in_preparation(void **state) {
        struct vm vm;
        int status, writer;

        need_qemu();
        setup(&vm);
        pid_t starter = start_limited(&vm, true, &writer);
        pid_t pid = pid_of(&vm);
        free(ask(&vm, "{\"method\":\"stop\"}"));
        end_by(pid, 0);
        assert_int_equal(waitpid(starter, &status, 0), starter);
        assert_int_equal(WEXITSTATUS(status), 1);
        assert_ended(&vm, "host", "quit");
        assert_false(has_file(&vm, "qmp.sock"));
        char *asked = read_file(&vm, "pid");
        close(writer);
        end_by(atoi(asked), 0);
        free(asked);
        teardown(&vm);
}

/* Who is not to wait is not kept by that. */
static void test_not_waited_for(void **state) {
        struct vm vm;
        int status, writer;

        need_qemu();
        setup(&vm);
        pid_t starter = start_limited(&vm, false, &writer);
        assert_int_equal(waitpid(starter, &status, 0), starter);
        assert_int_equal(WEXITSTATUS(status), 0);
        char *asked = read_file(&vm, "pid");
        assert_int_equal(kill(atoi(asked), 0), 0);
        pid_t pid = pid_of(&vm);
        free(ask(&vm, "{\"method\":\"force_stop\"}"));
        end_by(pid, 0);
        close(writer);
        end_by(atoi(asked), 0);
        free(asked);
        teardown(&vm);
}

static void await_bound(const struct vm *vm, const char *name) {
        _cleanup_free_ char *path = text_format("%s/%s", vm->directory, name);
        struct stat status;

        assert_int_equal(truncate(path, LOG_FILE_MAX + 1), 0);
        do {
                free(ask(vm, "{\"method\":\"status\"}"));
                assert_int_equal(stat(path, &status), 0);
        } while ((uint64_t)status.st_size > LOG_FILE_MAX);
}

/* Whatever it is that makes them grow. */
static void test_qemu_talkative(void **state) {
        struct vm vm;

        need_qemu();
        setup(&vm);
        configure(&vm, "");
        assert_int_equal(start_qemu(&vm), 0);
        await_bound(&vm, "qemu.log");
        await_bound(&vm, "vmhost.log");
        pid_t pid = pid_of(&vm);
        free(ask(&vm, "{\"method\":\"force_stop\"}"));
        end_by(pid, 0);
        teardown(&vm);
}

static void test_qemu_stopped(void **state) {
        struct vm vm;

        need_qemu();
        setup(&vm);
        configure(&vm, "");
        char *end = NULL;
        uint64_t begun;
        do {
                free(end);
                assert_int_equal(start_qemu(&vm), 0);
                pid_t pid = pid_of(&vm);
                assert_told(&vm, "{\"method\":\"info\"}",
                            "{\"ok\":true,\"state\":\"running\",\"backend\":\"qemu\"");
                /* Firmware knows no power button: QEMU is told to end, near the end of the budget. An eighth of that
                 * it has for it, before it gets a signal. */
                begun = loop_now();
                free(ask(&vm, "{\"method\":\"stop\",\"timeout_seconds\":4}"));
                end = ask(&vm, "{\"method\":\"wait\"}");
                end_by(pid, 0);
        } while (!has_quit(&vm, begun, 3500));
        assert_non_null(strstr(end, "\"by\":\"host\",\"stage\":\"quit\",\"exit_code\":0,\"signal\":0"));
        free(end);
        static const char *const gone[] = { "vmhost.pid", "vmhost.sock",  "qmp.sock",
                                            "agent.sock", "console.sock", "console-qemu.sock" };
        for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
                assert_false(has_file(&vm, gone[i]));
        teardown(&vm);
}

static void test_qemu_killed(void **state) {
        struct vm vm;

        need_qemu();
        setup(&vm);
        configure(&vm, "");
        /* What its starter does about its children is not to spoil what is known of QEMU's end. */
        vm.ignores_children = true;
        assert_int_equal(start_qemu(&vm), 0);
        pid_t pid = pid_of(&vm);
        end_by(qemu_of(&vm), SIGKILL);
        end_by(pid, 0);
        assert_ended(&vm, "crash", "none");
        json_t *signal = read_state(&vm, "last_end", "signal");
        assert_int_equal(json_integer_value(signal), SIGKILL);
        json_decref(signal);

        /* One that is asked to end has the time to say so, and its last word counts. */
        assert_int_equal(start_qemu(&vm), 0);
        pid = pid_of(&vm);
        end_by(qemu_of(&vm), SIGTERM);
        end_by(pid, 0);
        assert_ended(&vm, "host", "sigterm");
        teardown(&vm);
}

static void test_qemu_adopted(void **state) {
        struct vm vm;

        need_qemu();
        setup(&vm);
        configure(&vm, "");
        assert_int_equal(start_qemu(&vm), 0);
        pid_t qemu = qemu_of(&vm);
        end_by(pid_of(&vm), SIGKILL);
        assert_int_equal(kill(qemu, 0), 0);
        write_file(&vm, "config.json", "{"); /* a VM that runs is looked after all the same */
        assert_int_equal(adopt_qemu(&vm), 0);
        assert_int_equal(qemu_of(&vm), qemu);
        assert_told(&vm, "{\"method\":\"status\"}", "{\"ok\":true,\"state\":\"running\"");

        /* Frozen, it is told so, and nobody waits for it; force has the last word. */
        assert_int_equal(kill(qemu, SIGSTOP), 0);
        await(&vm, "{\"method\":\"status\"}", "\"unresponsive_since_ms\":");
        pid_t pid = pid_of(&vm);
        free(ask(&vm, "{\"method\":\"force_stop\"}"));
        end_by(qemu, 0);
        end_by(pid, 0);
        assert_ended(&vm, "host", "sigkill");

        /* Both killed: the record says that nobody saw it, and the VM starts. */
        configure(&vm, "");
        assert_int_equal(start_qemu(&vm), 0);
        qemu = qemu_of(&vm);
        pid = pid_of(&vm);
        kill(pid, SIGKILL);
        end_by(qemu, SIGKILL);
        end_by(pid, 0);
        assert_int_equal(adopt_qemu(&vm), 4);
        assert_ended(&vm, "unknown", "none");
        assert_int_equal(adopt_qemu(&vm), 4);
        assert_string_equal(vm.output, "vmhost: the VM does not run\n");
        assert_false(has_file(&vm, "vmhost.sock"));
        assert_int_equal(start_qemu(&vm), 0);
        assert_true(qemu_of(&vm) != qemu);
        assert_ended(&vm, "unknown", "none");
        for (;;) {
                uint64_t begun = loop_now();

                pid = pid_of(&vm);
                free(ask(&vm, "{\"method\":\"force_stop\"}"));
                end_by(pid, 0);
                if (has_quit(&vm, begun, 700))
                        break;
                assert_int_equal(start_qemu(&vm), 0);
        }
        assert_ended(&vm, "host", "quit");
        teardown(&vm);
}

/* The one that no record tells of: not adopted, for nothing proves it; and nothing is started beside it. */
static void test_qemu_without_a_record(void **state) {
        struct vm vm;

        need_qemu();
        setup(&vm);
        configure(&vm, "");
        assert_int_equal(start_qemu(&vm), 0);
        pid_t qemu = qemu_of(&vm);
        end_by(pid_of(&vm), SIGKILL);
        write_file(&vm, "state.json", "{}");
        assert_int_equal(start_qemu(&vm), 1);
        assert_non_null(strstr(vm.output, "a QEMU that no record tells of"));
        end_by(qemu, SIGKILL);

        /* Also one that is stopped and whose queue is full, and where nobody can tell. */
        char *path = text_format("%s/qmp.sock", vm.directory);
        assert_int_equal(unlink(path), 0);
        int fd = fd_listen_unix(path, 0600);
        assert_true(fd >= 0);
        assert_int_equal(listen(fd, 0), 0);
        int filler = endpoint_connect(vm.directory, "qmp.sock");
        assert_true(filler >= 0);
        assert_int_equal(start_qemu(&vm), 1);
        assert_non_null(strstr(vm.output, "a QEMU that no record tells of"));
        close(filler);
        close(fd);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(symlink("qmp.sock", path), 0);
        assert_int_equal(start_qemu(&vm), 1);
        assert_non_null(strstr(vm.output, "cannot tell whether a QEMU listens on "));
        assert_int_equal(unlink(path), 0);
        free(path);

        assert_int_equal(start_qemu(&vm), 0);
        pid_t pid = pid_of(&vm);
        free(ask(&vm, "{\"method\":\"force_stop\"}"));
        end_by(pid, 0);
        teardown(&vm);
}

HARNESS_MAIN(cmocka_unit_test(test_usage), cmocka_unit_test(test_detached),
             cmocka_unit_test(test_inherits_nothing), cmocka_unit_test(test_what_is_stale),
             cmocka_unit_test(test_what_is_removed), cmocka_unit_test(test_stopped_starter),
             cmocka_unit_test(test_start_that_fails), cmocka_unit_test(test_qemu_that_fails),
             cmocka_unit_test(test_qemu_stopped), cmocka_unit_test(test_stopped_in_preparation),
             cmocka_unit_test(test_not_waited_for), cmocka_unit_test(test_qemu_talkative),
             cmocka_unit_test(test_qemu_killed), cmocka_unit_test(test_qemu_adopted),
             cmocka_unit_test(test_qemu_without_a_record))
