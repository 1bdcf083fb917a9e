#include "fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "harness.h"
#include "vmhost/claim.h"
#include "vmhost/control.h"
#include "vmhost/supervisor.h"

struct server {
        struct loop *loop;
        struct supervisor *supervisor;
        struct control *control;
};

static void on_event(const json_t *event, void *data) {
        struct server *server = data;

        if (server->control)
                control_send_event(server->control, event);
}

static void on_up(void *data) {
}

static void on_finished(void *data) {
        struct server *server = data;

        control_finish(server->control);
        loop_exit(server->loop, 0);
}

static const struct supervisor_listener listener = {
        .on_event = on_event,
        .on_up = on_up,
        .on_finished = on_finished,
};

/* As vmhost's main does it; the exit code is what the test looks at, and a step that failed is its number. */
static int serve(const char *directory, enum fake_behaviour behaviour, enum restart_policy policy,
                 int ready_fd) {
        const struct supervisor_settings settings = {
                .directory = directory,
                .name = "web",
                .policy = policy,
                .stop_budget_ms = SUPERVISOR_STOP_MS,
        };
        struct server server = {};
        struct claim claim = CLAIM_INIT;
        struct controller *controller;
        size_t before = fd_count_open();

        if (claim_take(&claim, directory, "web", NULL) < 0)
                return 10;
        int listening = claim_publish(&claim, NULL);
        if (listening < 0 || loop_new(&server.loop) < 0)
                return 11;
        if (supervisor_new(&server.supervisor, server.loop, &settings, "fake", &listener, &server, NULL) < 0)
                return 12;
        if (controller_fake_new(&controller, server.loop, behaviour, HOST_SSH_PORT,
                                supervisor_controller_listener(), server.supervisor) < 0)
                return 13;
        if (control_new(&server.control, server.loop, listening, server.supervisor) < 0)
                return 14;
        if (supervisor_begin(server.supervisor, controller, NULL) < 0)
                return 15;
        if (write(ready_fd, "", 1) != 1)
                return 16;
        int r = loop_run(server.loop);
        control_free(server.control);
        supervisor_free(server.supervisor);
        loop_free(server.loop);
        claim_withdraw(&claim);
        claim_deinit(&claim);
        if (r < 0)
                return 17;
        return fd_count_open() == before ? 0 : 18;
}

void host_start(struct host *host, enum fake_behaviour behaviour, enum restart_policy policy) {
        int ready[2];
        char byte;

        host->directory = harness_make_directory();
        host->socket = text_format("%s/" CLAIM_SOCKET, host->directory);
        assert_non_null(host->socket);
        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        fflush(NULL);
        host->pid = fork();
        assert_true(host->pid >= 0);
        if (host->pid == 0) {
                signal(SIGPIPE, SIG_IGN);
                alarm(240); /* as the harness has it */
                close(ready[0]);
                int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
                dup2(null, STDERR_FILENO);
                close(null);
                _exit(serve(host->directory, behaviour, policy, ready[1]));
        }
        close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        close(ready[0]);
}

void host_wait(struct host *host) {
        int status;

        assert_int_equal(waitpid(host->pid, &status, 0), host->pid);
        host->pid = 0;
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

void host_deinit(struct host *host) {
        if (host->pid > 0) {
                kill(host->pid, SIGKILL);
                waitpid(host->pid, NULL, 0);
        }
        free(host->socket);
        harness_remove_directory(host->directory);
}

int host_connect(const struct host *host) {
        int fd = fd_connect_unix(host->socket);

        assert_true(fd >= 0);
        return fd;
}

char *host_read_all(int fd, size_t *ret_size) {
        size_t size = 0, room = 4096;
        char *data = malloc(room);
        ssize_t n;

        assert_non_null(data);
        while ((n = read(fd, data + size, room - size - 1)) > 0) {
                size += (size_t)n;
                if (room - size < 2) {
                        room *= 2;
                        data = realloc(data, room);
                        assert_non_null(data);
                }
        }
        assert_int_equal(n, 0); /* an end, and not a connection that was reset */
        data[size] = '\0';
        if (ret_size)
                *ret_size = size;
        return data;
}

char *host_ask(const struct host *host, const char *request) {
        int fd = host_connect(host);

        assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
        char *reply = host_read_all(fd, NULL);
        close(fd);
        return reply;
}

void host_await(const struct host *host, const char *text) {
        for (bool found = false; !found;) {
                char *reply = host_ask(host, "{\"method\":\"status\"}");
                found = strstr(reply, text);
                free(reply);
        }
}
