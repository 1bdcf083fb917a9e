#include "network/outpost.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/process.h"
#include "network/leftover.h"

#define FDS_MAX 8
#define CHILDREN_MAX 8
#define ARGUMENTS_MAX 4096

enum request_kind { REQUEST_SOCKET, REQUEST_SPAWN };

/* A request is one packet: this, and for REQUEST_SPAWN the note's path and the arguments behind it, each with its NUL. */
struct request {
        enum request_kind kind;
        int family, type, protocol;
};

struct reply {
        int result; /* 0 or -errno */
        pid_t pid;
};

struct outpost {
        int socket;
        pid_t pid;
};

/* Sends one packet with fds. 0 or -errno. */
static int packet_send(int socket, const struct iovec *iov, size_t n_iov, const int *fds, size_t n_fds) {
        union {
                char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
                struct cmsghdr align;
        } control = {};
        struct msghdr message = { .msg_iov = (struct iovec *)iov, .msg_iovlen = n_iov };

        if (n_fds > 0) {
                message.msg_control = control.space;
                message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
                struct cmsghdr *header = CMSG_FIRSTHDR(&message);
                header->cmsg_level = SOL_SOCKET;
                header->cmsg_type = SCM_RIGHTS;
                header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
        }
        ssize_t n;
        do
                n = sendmsg(socket, &message, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : 0;
}

/* Receives one packet: its size, 0 when the peer is gone, or -errno. */
static ssize_t packet_receive(int socket, void *buffer, size_t size, int fds[static FDS_MAX], size_t *ret_n_fds) {
        union {
                char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
                struct cmsghdr align;
        } control;
        struct iovec iov = { .iov_base = buffer, .iov_len = size };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space,
                                  .msg_controllen = sizeof(control.space) };

        ssize_t n;
        do
                n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;

        *ret_n_fds = 0;
        for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h))
                if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
                        *ret_n_fds = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                        memcpy(fds, CMSG_DATA(h), *ret_n_fds * sizeof(int));
                }
        return n;
}

/* In the program to be: fds[0] is its log, the others become 3 and up. */
_Noreturn static void become(pid_t parent, char *arguments, size_t size, const int *fds, size_t n_fds) {
        const char *note = arguments;
        char *argv[64];
        size_t argc = 0;
        int moved[FDS_MAX];

        for (size_t i = strlen(note) + 1; i < size && argc < ARRAY_SIZE(argv) - 1; i += strlen(arguments + i) + 1)
                argv[argc++] = arguments + i;
        argv[argc] = NULL;

        /* First out of the way of the numbers they are to get, then onto them. */
        for (size_t i = 0; i < n_fds; i++)
                moved[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3 + FDS_MAX);
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, 0);
        dup2(moved[0], 1);
        dup2(moved[0], 2);
        for (size_t i = 1; i < n_fds; i++)
                dup2(moved[i], 2 + (int)i);

        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGCHLD, SIG_DFL);
        signal(SIGPIPE, SIG_DFL);
        /* From here on it ends with us, until it is another user's; by then it is written down. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(127);
        if (*note)
                leftover_note(note, getpid());
        execv(argv[0], argv);
        dprintf(2, "%s: %s\n", argv[0], strerror(errno));
        _exit(127);
}

static int serve_spawn(char *arguments, size_t size, const int *fds, size_t n_fds, int *children,
                       struct reply *reply) {
        size_t slot;

        for (slot = 0; slot < CHILDREN_MAX; slot++)
                if (children[slot] < 0 || process_signal(children[slot], 0) == -ESRCH)
                        break;
        if (slot == CHILDREN_MAX || n_fds == 0 || size == 0 || arguments[size - 1] != 0)
                return -EINVAL;
        children[slot] = fd_close(children[slot]);

        pid_t self = getpid(), pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                become(self, arguments, size, fds, n_fds);

        /* SIGCHLD is ignored, so a child that ended already is reaped: pidfd_open then says so. */
        int pidfd = process_open(pid);
        if (pidfd < 0)
                return pidfd;
        children[slot] = pidfd;
        reply->pid = pid;
        return fd_dup(pidfd);
}

_Noreturn static void serve(int channel) {
        int children[CHILDREN_MAX];
        char buffer[sizeof(struct request) + ARGUMENTS_MAX];

        memset(children, -1, sizeof(children));
        signal(SIGCHLD, SIG_IGN);
        /* A terminal's signals are for the process at the helm; we end when it does. */
        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        signal(SIGHUP, SIG_IGN);

        for (;;) {
                int fds[FDS_MAX];
                size_t n_fds = 0;
                struct request request;
                struct reply reply = {};

                ssize_t n = packet_receive(channel, buffer, sizeof(buffer), fds, &n_fds);
                if (n < (ssize_t)sizeof(request))
                        break;
                memcpy(&request, buffer, sizeof(request));

                _cleanup_fd_ int fd = -1;
                if (request.kind == REQUEST_SOCKET) {
                        fd = socket(request.family, request.type | SOCK_CLOEXEC | SOCK_NONBLOCK, request.protocol);
                        if (fd < 0)
                                fd = -errno;
                } else
                        fd = serve_spawn(buffer + sizeof(request), (size_t)n - sizeof(request), fds, n_fds, children,
                                         &reply);
                for (size_t i = 0; i < n_fds; i++)
                        fd_close(fds[i]);

                reply.result = fd < 0 ? fd : 0;
                struct iovec iov = { .iov_base = &reply, .iov_len = sizeof(reply) };
                if (packet_send(channel, &iov, 1, &fd, fd >= 0 ? 1 : 0) < 0)
                        break;
        }

        for (size_t i = 0; i < CHILDREN_MAX; i++)
                if (children[i] >= 0)
                        process_signal(children[i], SIGKILL);
        _exit(0);
}

int outpost_new(struct outpost **ret, struct error *error) {
        int pair[2];

        struct outpost *outpost = calloc(1, sizeof(*outpost));
        if (!outpost)
                return -ENOMEM;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
                int r = error_errno(error, -errno, "making a socket pair");
                free(outpost);
                return r;
        }

        outpost->pid = fork();
        if (outpost->pid < 0) {
                int r = error_errno(error, -errno, "starting the process that stays in the host's namespace");
                fd_close(pair[0]);
                fd_close(pair[1]);
                free(outpost);
                return r;
        }
        if (outpost->pid == 0) {
                /* Nothing else of the parent's may be held open here: the others wait for its end. */
                dup2(pair[1], 3);
                close_range(4, ~0U, 0);
                fd_set_cloexec(3, true);
                serve(3);
        }
        fd_close(pair[1]);
        outpost->socket = pair[0];
        *ret = outpost;
        return 0;
}

struct outpost *outpost_free(struct outpost *outpost) {
        if (!outpost)
                return NULL;
        fd_close(outpost->socket);
        /* It ends at once, having killed what it started. */
        while (waitpid(outpost->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        free(outpost);
        return NULL;
}

int outpost_open_process(const struct outpost *outpost) {
        return process_open(outpost->pid);
}

/* One exchange: the fd that came back, or -errno. */
static int call(struct outpost *outpost, const struct iovec *iov, size_t n_iov, const int *fds, size_t n_fds,
                struct reply *reply) {
        int received[FDS_MAX];
        size_t n_received = 0;

        int r = packet_send(outpost->socket, iov, n_iov, fds, n_fds);
        if (r < 0)
                return r;
        ssize_t n = packet_receive(outpost->socket, reply, sizeof(*reply), received, &n_received);
        if (n < 0)
                return (int)n;
        if (n != sizeof(*reply))
                return -ECONNRESET;
        if (reply->result < 0)
                return reply->result;
        return n_received == 1 ? received[0] : -EPROTO;
}

int outpost_socket(struct outpost *outpost, int family, int type, int protocol) {
        struct request request = { .kind = REQUEST_SOCKET, .family = family, .type = type, .protocol = protocol };
        struct iovec iov = { .iov_base = &request, .iov_len = sizeof(request) };
        struct reply reply;

        return call(outpost, &iov, 1, NULL, 0, &reply);
}

int outpost_spawn(struct outpost *outpost, const char *note, const char *const *argv, int log_fd, const int *fds,
                  size_t n_fds, pid_t *ret_pid) {
        struct request request = { .kind = REQUEST_SPAWN };
        char arguments[ARGUMENTS_MAX];
        size_t size = 0;
        int all[FDS_MAX] = { log_fd };
        struct reply reply;

        if (n_fds > FDS_MAX - 1)
                return -E2BIG;
        for (const char *const *next = argv, *word = note ?: ""; word; word = *next++) {
                size_t length = strlen(word) + 1;
                if (size + length > sizeof(arguments))
                        return -E2BIG;
                memcpy(arguments + size, word, length);
                size += length;
        }
        if (n_fds > 0)
                memcpy(all + 1, fds, n_fds * sizeof(int));

        struct iovec iov[] = {
                { .iov_base = &request, .iov_len = sizeof(request) },
                { .iov_base = arguments, .iov_len = size },
        };
        int pidfd = call(outpost, iov, ARRAY_SIZE(iov), all, n_fds + 1, &reply);
        if (pidfd >= 0)
                *ret_pid = reply.pid;
        return pidfd;
}
