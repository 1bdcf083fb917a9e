#include "fixture.h"

#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"

#define DEADLINE_MS 60000
#define OUTPUT_MAX (256 * 1024)

struct fixture *fixture_new(void) {
        struct fixture *fixture = calloc(1, sizeof(*fixture));

        assert_non_null(fixture);
        fixture->config = harness_make_directory();
        fixture->output = -1;
        setenv("BERTH_CONFIG_DIR", fixture->config, 1);
        return fixture;
}

struct fixture *fixture_free(struct fixture *fixture) {
        if (fixture->pid > 0) {
                kill(fixture->pid, SIGKILL);
                waitpid(fixture->pid, NULL, 0);
        }
        fd_close(fixture->output);
        unsetenv("BERTH_VMHOST"); /* which tests set */
        harness_remove_directory(fixture->config);
        free(fixture);
        return NULL;
}

int fixture_setup(void **state) {
        *state = fixture_new();
        return 0;
}

int fixture_teardown(void **state) {
        fixture_free(*state);
        return 0;
}

void fixture_start(struct fixture *fixture, const char *const *arguments) {
        const char *argv[192] = { BERTH };
        int fds[2];

        for (size_t i = 0; arguments[i]; i++)
                argv[i + 1] = arguments[i];
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        fixture->pid = fork();
        assert_true(fixture->pid >= 0);
        if (fixture->pid == 0) {
                dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
                dup2(fds[1], STDOUT_FILENO);
                dup2(fds[1], STDERR_FILENO);
                signal(SIGCHLD, SIG_IGN); /* as some starters leave it */
                execv(BERTH, (char **)argv);
                _exit(99);
        }
        fd_close(fds[1]);
        fd_close(fixture->output);
        fixture->output = fds[0];
}

void fixture_wait_readable(int fd) {
        struct pollfd pollfd = { .fd = fd, .events = POLLIN };

        assert_int_equal(poll(&pollfd, 1, DEADLINE_MS), 1);
}

void fixture_expect(const struct fixture *fixture, char text[static FIXTURE_TEXT_SIZE], const char *wanted) {
        while (!strstr(text, wanted)) {
                size_t used = strlen(text);
                ssize_t n;

                fixture_wait_readable(fixture->output);
                n = read(fixture->output, text + used, FIXTURE_TEXT_SIZE - 1 - used);
                assert_true(n > 0);
                text[used + (size_t)n] = '\0';
        }
}

char *fixture_finish(struct fixture *fixture, int *ret_status) {
        char *text = calloc(1, OUTPUT_MAX);
        size_t used = 0;
        int status;

        assert_non_null(text);
        for (;;) {
                ssize_t n;

                fixture_wait_readable(fixture->output);
                n = read(fixture->output, text + used, OUTPUT_MAX - 1 - used);
                assert_true(n >= 0);
                if (n == 0)
                        break;
                used += (size_t)n;
        }
        assert_int_equal(waitpid(fixture->pid, &status, 0), fixture->pid);
        fixture->pid = 0;
        *ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        return text;
}

char *fixture_run(struct fixture *fixture, int *ret_status, const char *const *arguments) {
        fixture_start(fixture, arguments);
        return fixture_finish(fixture, ret_status);
}

char *fixture_path(const struct fixture *fixture, const char *vm, const char *file) {
        char *path = text_format("%s/vms/%s/%s", fixture->config, vm, file);

        assert_non_null(path);
        return path;
}

void fixture_write(const struct fixture *fixture, const char *vm, const char *file, const char *text) {
        _cleanup_free_ char *path = fixture_path(fixture, vm, file);

        assert_int_equal(file_write(path, text, strlen(text), 0600, false, NULL), 0);
}

void fixture_make_vm(const struct fixture *fixture, const char *vm) {
        _cleanup_free_ char *directory = fixture_path(fixture, vm, "");

        assert_int_equal(file_make_directory(directory, 0700, NULL), 0);
        fixture_write(fixture, vm, "config.json", "{ \"kernel\": \"/boot/vmlinuz\" }\n");
}

void fixture_write_run(const struct fixture *fixture, const char *vm, pid_t pid) {
        _cleanup_free_ char *text = NULL;
        uint64_t start_time;
        char boot_id[37];

        assert_int_equal(process_boot_id(boot_id), 0);
        assert_int_equal(process_start_time(pid, &start_time), 0);
        text = text_format(
                "{\"phase\":\"running\",\"run\":{\"pid\":%d,\"start_time\":%llu,\"boot_id\":\"%s\"}}",
                (int)pid, (unsigned long long)start_time, boot_id);
        fixture_write(fixture, vm, "state.json", text);
}

void fixture_write_vmhost(const struct fixture *fixture, const char *script) {
        _cleanup_free_ char *path = text_format("%s/vmhost", fixture->config);
        _cleanup_free_ char *text = text_format("#!/bin/sh\n%s\n", script);

        assert_int_equal(file_write(path, text, strlen(text), 0755, false, NULL), 0);
        setenv("BERTH_VMHOST", path, 1);
}

int fixture_make_pipe(const struct fixture *fixture, const char *name) {
        _cleanup_free_ char *path = text_format("%s/%s", fixture->config, name);
        int fd;

        assert_int_equal(mkfifo(path, 0600), 0);
        fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        return fd;
}

size_t fixture_count_vms(const struct fixture *fixture) {
        _cleanup_free_ char *path = text_format("%s/vms", fixture->config);
        DIR *directory = opendir(path);
        size_t n = 0;

        for (struct dirent *entry; directory && (entry = readdir(directory));)
                n += !text_equal(entry->d_name, ".") && !text_equal(entry->d_name, "..");
        if (directory)
                closedir(directory);
        return n;
}

int fixture_listen(const struct fixture *fixture, const char *vm) {
        _cleanup_free_ char *path = fixture_path(fixture, vm, "vmhost.sock");
        int fd = fd_listen_unix(path, 0600);

        assert_true(fd >= 0);
        return fd;
}

/* The line that a connection brings; false where it closes without a word. */
static bool read_request(int fd, char *line, size_t size) {
        size_t used = 0;

        do {
                ssize_t n;

                fixture_wait_readable(fd);
                n = read(fd, line + used, size - 1 - used);
                assert_true(n >= 0);
                if (n == 0)
                        return false;
                used += (size_t)n;
                line[used] = '\0';
        } while (!strchr(line, '\n'));
        line[used - 1] = '\0';
        return true;
}

int fixture_accept(int listener, const char *request) {
        for (;;) {
                char line[4096] = "";
                int fd;

                fixture_wait_readable(listener);
                fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                assert_true(fd >= 0);
                if (!read_request(fd, line, sizeof(line))) {
                        fd_close(fd);
                        continue;
                }
                if (request && text_equal(line, FIXTURE_STATUS) && !text_equal(request, FIXTURE_STATUS)) {
                        fixture_reply_last(fd, "{\"ok\":true,\"state\":\"running\"}");
                        continue;
                }
                if (request)
                        assert_string_equal(line, request);
                return fd;
        }
}

void fixture_reply(int connection, const char *line) {
        _cleanup_free_ char *text = text_format("%s\n", line);

        assert_int_equal(write(connection, text, strlen(text)), (ssize_t)strlen(text));
}

void fixture_reply_last(int consume_connection, const char *line) {
        fixture_reply(consume_connection, line);
        fd_close(consume_connection);
}

void fixture_expect_silence(const char *output) {
        if (!strstr(output, "berth: the vmhost of web does not answer\nberth: /"))
                print_error("no silence in: %s", output);
        assert_non_null(strstr(output, "berth: the vmhost of web does not answer\nberth: /"));
        assert_non_null(strstr(output,
                               "/vms/web/vmhost.log may say why; killed, it leaves the VM running, and "
                               "`berth vm start web` starts another\n"));
}
