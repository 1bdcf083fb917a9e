#include "network/service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/process.h"
#include "network/leftover.h"

#define BACKOFF_MIN 50000ULL
#define BACKOFF_MAX 5000000ULL
#define STEADY 10000000ULL /* up for this long, and the next end is a first one again */

struct service {
        struct loop *loop;
        const struct service_ops *ops;
        void *data;
        enum service_state state;
        pid_t pid;
        int pidfd; /* -1: no program runs */
        int log;
        struct source *child, *output, *timer;
        char line[320];
        size_t line_size;
        char message[320];
        uint64_t started, backoff;
        unsigned restarts;
};

static void set_state(struct service *service, enum service_state state) {
        if (service->state == state)
                return;
        service->state = state;
        if (service->ops->changed)
                service->ops->changed(service->data, state);
}

static void end_line(struct service *service) {
        if (service->line_size == 0)
                return;
        service->line[service->line_size] = 0;
        service->line_size = 0;
        strcpy(service->message, service->line);
        if (!service->ops->line || service->ops->line(service->data, service->line))
                log_info("%s: %s", service->ops->name, service->line);
}

static void take_output(struct service *service) {
        char buffer[1024];
        ssize_t n;

        while ((n = read(service->log, buffer, sizeof(buffer))) > 0)
                for (ssize_t i = 0; i < n; i++)
                        if (buffer[i] == '\n')
                                end_line(service);
                        else if (service->line_size < sizeof(service->line) - 1)
                                service->line[service->line_size++] = buffer[i];
        if (n == 0) {
                end_line(service);
                service->output = source_free(service->output);
        }
}

static int on_output(struct source *source, int fd, uint32_t events, void *data) {
        take_output(data);
        return 0;
}

/* The program is gone: what it had is let go. */
static void drop(struct service *service) {
        service->child = source_free(service->child);
        service->output = source_free(service->output);
        service->pidfd = fd_close(service->pidfd);
        service->log = fd_close(service->log);
        service->pid = 0;
}

static void plan(struct service *service) {
        if (loop_now() - service->started > STEADY)
                service->backoff = 0;
        source_arm(service->timer, service->backoff);
        service->backoff = service->backoff ? service->backoff * 2 : BACKOFF_MIN;
        if (service->backoff > BACKOFF_MAX)
                service->backoff = BACKOFF_MAX;
        set_state(service, SERVICE_WAITING);
}

static int on_child(struct source *source, const siginfo_t *info, void *data) {
        struct service *service = data;

        if (service->output)
                take_output(service);
        if (info->si_pid && info->si_code == CLD_EXITED)
                log_warning("%s ended with status %d; it is started again", service->ops->name, info->si_status);
        else if (info->si_pid)
                log_warning("%s was ended by signal %d; it is started again", service->ops->name, info->si_status);
        else
                log_warning("%s ended; it is started again", service->ops->name);
        drop(service);
        plan(service);
        return 0;
}

static int spawn(struct service *service, struct error *error) {
        int pipe_fds[2];

        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return error_errno(error, -errno, "making a pipe");
        service->log = pipe_fds[0];
        _cleanup_fd_ int writer = pipe_fds[1];
        fd_set_nonblock(service->log, true);

        int pidfd = service->ops->spawn(service->data, writer, &service->pid, error);
        if (pidfd < 0)
                return pidfd;
        service->pidfd = fd_dup(pidfd);
        int r = loop_add_child(service->loop, &service->child, pidfd, on_child, service);
        if (r >= 0)
                r = loop_add_fd(service->loop, &service->output, service->log, EPOLLIN, on_output, service);
        return r;
}

/* SIGKILL needs no consent, so the wait is short; a pidfd tells the end of a program that is not our child too. */
static void end_program(struct service *service) {
        if (service->pidfd >= 0) {
                struct pollfd gone = { .fd = service->pidfd, .events = POLLIN };

                process_signal(service->pidfd, SIGKILL);
                while (poll(&gone, 1, 2000) < 0 && errno == EINTR)
                        ;
                waitid(P_PIDFD, (id_t)service->pidfd, &(siginfo_t){}, WEXITED | WNOHANG);
        }
        drop(service);
        source_disarm(service->timer);
}

static void launch(struct service *service) {
        struct error error = ERROR_INIT;

        service->started = loop_now();
        set_state(service, SERVICE_STARTING);
        int r = spawn(service, &error);
        if (r < 0) {
                strncpy(service->message, error_text(&error, r), sizeof(service->message) - 1);
                log_warning("%s cannot be started: %s", service->ops->name, service->message);
                end_program(service);
                plan(service);
        }
}

static int on_timer(struct source *source, void *data) {
        struct service *service = data;

        service->restarts++;
        launch(service);
        return 0;
}

int service_new(struct service **ret, struct loop *loop, const struct service_ops *ops, void *data) {
        struct service *service = calloc(1, sizeof(*service));
        if (!service)
                return -ENOMEM;

        *service = (struct service){ .loop = loop, .ops = ops, .data = data, .pidfd = -1, .log = -1 };
        int r = loop_add_timer(loop, &service->timer, on_timer, service);
        if (r < 0) {
                free(service);
                return r;
        }
        *ret = service;
        return 0;
}

struct service *service_free(struct service *service) {
        if (!service)
                return NULL;
        end_program(service);
        source_free(service->timer);
        free(service);
        return NULL;
}

void service_start(struct service *service) {
        if (service->state == SERVICE_STOPPED)
                launch(service);
}

void service_stop(struct service *service) {
        end_program(service);
        service->backoff = 0;
        set_state(service, SERVICE_STOPPED);
}

void service_up(struct service *service) {
        if (service->state != SERVICE_STARTING)
                return;
        service->message[0] = 0;
        set_state(service, SERVICE_UP);
}

void service_restart(struct service *service) {
        end_program(service);
        service->backoff = 0;
        launch(service);
}

void service_signal(struct service *service, int signal) {
        if (service->pidfd >= 0)
                process_signal(service->pidfd, signal);
}

enum service_state service_state(const struct service *service) {
        return service->state;
}

const char *service_message(const struct service *service) {
        return service->state == SERVICE_UP ? "" : service->message;
}

json_t *service_describe(const struct service *service) {
        static const char *const names[] = { "stopped", "starting", "up", "waiting" };
        json_t *object = json_pack("{ss si si}", "state", names[service->state], "pid", (int)service->pid, "restarts",
                                   (int)service->restarts);

        if (object && *service_message(service))
                json_object_set_new(object, "message", json_string(service->message));
        return object;
}

int service_execute(const char *note, const char *const *argv, int log_fd, pid_t *ret_pid, struct error *error) {
        pid_t parent = getpid(), pid = fork();

        if (pid < 0)
                return error_errno(error, -errno, "starting %s", argv[0]);
        if (pid == 0) {
                sigset_t none;
                int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

                sigemptyset(&none);
                sigprocmask(SIG_SETMASK, &none, NULL);
                /* Until the program has its own handlers, a signal that asks it to read its files is no end of it. */
                signal(SIGHUP, SIG_IGN);
                signal(SIGPIPE, SIG_DFL);
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent || dup2(null, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0)
                        _exit(127);
                if (note)
                        leftover_note(note, getpid());
                execv(argv[0], (char *const *)argv);
                dprintf(2, "%s: %s\n", argv[0], strerror(errno));
                _exit(127);
        }

        int pidfd = process_open(pid);
        if (pidfd < 0) {
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                return error_errno(error, pidfd, "watching %s", argv[0]);
        }
        *ret_pid = pid;
        return pidfd;
}
