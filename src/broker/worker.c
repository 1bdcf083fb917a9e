#include "broker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"

/* How long a process may take to end after it has closed its socket. */
#define CLOSED_GRACE 2000000 /* microseconds */

struct worker {
        pid_t pid;
        int pidfd; /* owned; a copy of the one that `child` waits for */
        struct wire *wire; /* NULL once it is of no more use */
        struct source *input; /* on the wire */
        struct source *child;
        struct source *grace;
        const struct worker_events *events;
        void *data;
};

/* Nothing more is to be heard: the process has closed its end or broken the rules. */
static void hang_up(struct worker *worker) {
        worker->input = source_free(worker->input);
        worker->wire = wire_free(worker->wire);
        source_arm(worker->grace, CLOSED_GRACE);
}

void worker_kill(struct worker *worker, const char *why) {
        log_warning("killing berth-network (pid %d): %s", worker->pid, why);
        process_signal(worker->pidfd, SIGKILL);
}

static int on_grace(struct source *source, void *data) {
        worker_kill(data, "it closed its socket and did not end");
        return 0;
}

/* Delivers what has come. What comes while this runs is left for the next call of the loop. */
static void receive(struct worker *worker) {
        struct error error = ERROR_INIT;
        int r;

        do {
                _cleanup_(wire_message_deinit) struct wire_message message = WIRE_MESSAGE_INIT;

                r = wire_receive(worker->wire, &message, &error);
                if (r == WIRE_MESSAGE)
                        worker->events->message(worker->data, &message);
                /* No reason to end a network that runs. */
                else if (r == WIRE_MALFORMED)
                        log_warning("a message of berth-network (pid %d) is lost: %s", worker->pid,
                                    error_text(&error, -EPROTO));
        } while ((r == WIRE_MESSAGE || r == WIRE_MALFORMED) && worker->wire);

        if (r == WIRE_AGAIN || !worker->wire)
                return;
        /* A reset says that it ended with something of ours unread. */
        if (r != WIRE_END && r != -ECONNRESET)
                worker_kill(worker, error_text(&error, r));
        hang_up(worker);
}

static int on_wire(struct source *source, int fd, uint32_t events, void *data) {
        struct worker *worker = data;

        if (events & EPOLLOUT) {
                int r = wire_flush(worker->wire);
                if (r < 0) {
                        hang_up(worker);
                        return 0;
                }
                if (!wire_has_output(worker->wire)) {
                        source_set_events(worker->input, EPOLLIN);
                        worker->events->drained(worker->data);
                }
        }
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                receive(worker);
        return 0;
}

static int on_ended(struct source *source, const siginfo_t *info, void *data) {
        struct worker *worker = data;
        char how[64] = "ended";

        if (info->si_pid != 0 && info->si_code == CLD_EXITED)
                snprintf(how, sizeof(how), "exited with status %d", info->si_status);
        else if (info->si_pid != 0)
                snprintf(how, sizeof(how), "was killed by signal %d", info->si_status);

        if (worker->wire)
                receive(worker);
        worker->events->ended(worker->data, how);
        return 0;
}

void worker_send(struct worker *worker, json_t *body, const int *fds, size_t n_fds) {
        if (!worker->wire)
                return;

        int r = body ? wire_send(worker->wire, body, fds, n_fds) : -ENOMEM;
        if (r == -EPIPE || r == -ECONNRESET)
                return; /* its end is near, and will be told */
        if (r < 0) {
                worker_kill(worker, strerror(-r));
                return;
        }
        if (wire_has_output(worker->wire))
                source_set_events(worker->input, EPOLLIN | EPOLLOUT);
}

bool worker_is_congested(const struct worker *worker) {
        return worker->wire && wire_has_output(worker->wire);
}

pid_t worker_pid(const struct worker *worker) {
        return worker->pid;
}

struct worker *worker_free(struct worker *worker) {
        if (!worker)
                return NULL;
        source_free(worker->grace);
        source_free(worker->child);
        source_free(worker->input);
        wire_free(worker->wire);
        fd_close(worker->pidfd);
        free(worker);
        return NULL;
}

static void worker_freep(struct worker **worker) {
        worker_free(*worker);
}

/* Around a process and its socket; both fds are consumed, on failure too. */
static int worker_new(struct worker **ret, struct loop *loop, pid_t pid, int consume_pidfd,
                      int consume_socket, const struct worker_events *events, void *data) {
        _cleanup_fd_ int pidfd = consume_pidfd, socket = consume_socket;
        _cleanup_(worker_freep) struct worker *worker = calloc(1, sizeof(*worker));
        int r;

        if (!worker)
                return -ENOMEM;
        worker->pid = pid;
        worker->events = events;
        worker->data = data;
        worker->pidfd = fd_dup(pidfd);
        if (worker->pidfd < 0)
                return worker->pidfd;
        r = wire_new(&worker->wire, steal_fd(&socket));
        if (r < 0)
                return r;
        wire_set_care(worker->wire, WIRE_CARRIER, WIRE_FDS_MAX);
        r = loop_add_fd(loop, &worker->input, wire_fd(worker->wire), EPOLLIN, on_wire, worker);
        if (r < 0)
                return r;
        r = loop_add_timer(loop, &worker->grace, on_grace, worker);
        if (r < 0)
                return r;
        r = loop_add_child(loop, &worker->child, steal_fd(&pidfd), on_ended, worker);
        if (r < 0)
                return r;
        *ret = steal_ptr(worker);
        return 0;
}

/* In the child. The broker has a single thread, so the C library is in order here. */
_Noreturn static void run(const char *program, char *const *arguments, int socket) {
        static const char failure[] =
                "{\"command\":\"failed\",\"error\":6,\"message\":\"the program berth-network "
                "cannot be run\"}\n";
        struct sigaction plain = { .sa_handler = SIG_DFL };
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        sigaction(SIGPIPE, &plain, NULL);
        sigaction(SIGHUP, &plain, NULL);
        unsetenv("NOTIFY_SOCKET"); /* it is the broker's to speak to the service manager */
        setsid(); /* an interrupt typed at the broker's terminal is not meant for the networks */

        int null = open("/dev/null", O_RDWR);
        if (null >= 0 && dup2(null, 0) == 0 && dup2(null, 1) == 1) {
                if (socket == 3)
                        fcntl(3, F_SETFD, 0);
                else
                        dup2(socket, 3);
                close_range(4, ~0U, 0);
                execv(program, arguments);
        }
        if (write(3, failure, sizeof(failure) - 1) < 0)
                _exit(126);
        _exit(127);
}

int worker_spawn(struct worker **ret, struct loop *loop, const char *program, const char *name,
                 const struct worker_events *events, void *data, struct error *error) {
        char *const arguments[] = { (char *)program, (char *)"--name", (char *)name, NULL };
        _cleanup_fd_ int socket = -1, pidfd = -1;
        int pair[2], r;

        r = fd_socketpair(pair, false);
        if (r < 0)
                return error_errno(error, r, "cannot make a socket pair");
        socket = pair[0];

        pid_t pid = fork();
        if (pid == 0)
                run(program, arguments, pair[1]);
        r = -errno;
        fd_close(pair[1]);
        if (pid < 0)
                return error_errno(error, r, "cannot make a process");

        pidfd = process_open(pid); /* not reaped yet, so it is no other's */
        if (pidfd < 0) {
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                return error_errno(error, pidfd, "cannot watch a process");
        }
        r = worker_new(ret, loop, pid, steal_fd(&pidfd), steal_fd(&socket), events, data);
        if (r < 0) {
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                return error_errno(error, r, "cannot watch a process");
        }
        return 0;
}

/* Whether the other end has been closed, thus its process has ended. */
static bool is_closed(int socket) {
        char byte;
        ssize_t n = recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

        return n == 0 || (n < 0 && errno != EAGAIN);
}

int worker_connect(struct worker **ret, struct loop *loop, const char *control_socket,
                   const struct worker_events *events, void *data, struct error *error) {
        struct ucred credentials;
        socklen_t size = sizeof(credentials);
        _cleanup_fd_ int pidfd = -1, socket = fd_connect_unix(control_socket);

        if (socket < 0)
                return error_errno(error, socket, "cannot connect to %s", control_socket);
        if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
                return error_errno(error, -errno, "cannot tell who listens on %s", control_socket);
        if (credentials.uid != getuid())
                return error_set(error, -EPERM, "%s belongs to uid %u", control_socket, credentials.uid);

        pidfd = process_open(credentials.pid);
        if (pidfd < 0)
                return error_errno(error, pidfd, "cannot watch the process behind %s", control_socket);
        /* An open socket after the pidfd was made proves that the pid was not another process's by then. */
        if (is_closed(socket))
                return error_set(error, -ECONNREFUSED, "the process behind %s has just ended",
                                 control_socket);
        int r = worker_new(ret, loop, credentials.pid, steal_fd(&pidfd), steal_fd(&socket), events, data);
        return r < 0 ? error_errno(error, r, "cannot watch the process behind %s", control_socket) : 0;
}
