#include "wire/stranger.h"

#include <errno.h>
#include <string.h>
#include <sys/param.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/elsewhere.h"
#include "base/fd.h"
#include "base/memory.h"
#include "wire/rights.h"

#define SCM_MAX_FD 253 /* the kernel's, for one sendmsg(2) */

/* What the child says before the data. */
struct report {
        ssize_t n; /* bytes, or -errno */
        bool refused;
};

union control {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * SCM_MAX_FD)];
};

static ssize_t receive(int socket, struct iovec *vectors, size_t n_vectors, union control *control, int flags,
                       int *fds, size_t fds_max, size_t *n_fds, bool *refused) {
        struct msghdr message = { .msg_iov = vectors, .msg_iovlen = n_vectors, .msg_control = control,
                                  .msg_controllen = sizeof(*control) };
        ssize_t n;

        do
                n = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        *refused |= (message.msg_flags & MSG_CTRUNC) != 0;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
                size_t n_here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                *refused |= n_here > fds_max - *n_fds;
                n_here = MIN(n_here, fds_max - *n_fds);
                memcpy(fds + *n_fds, CMSG_DATA(c), n_here * sizeof(int));
                *n_fds += n_here;
        }
        return n;
}

/* --- In the child, which closes nothing that came --- */

static bool is_internet_socket(int fd) {
        int domain;
        socklen_t size = sizeof(domain);

        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
               (domain == AF_INET || domain == AF_INET6);
}

/* So that the kernel drops none of them here, where the caller waits for us. */
static void make_room(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                limit.rlim_cur = limit.rlim_max;
                setrlimit(RLIMIT_NOFILE, &limit);
        }
}

static void send_report(int answer, struct report *report, char *data, const int *fds, size_t n_fds) {
        struct iovec vectors[] = {
                { .iov_base = report, .iov_len = sizeof(*report) },
                { .iov_base = data, .iov_len = report->n > 0 ? (size_t)report->n : 0 },
        };

        rights_send(answer, vectors, ARRAY_SIZE(vectors), fds, n_fds); /* whose queue is empty: it takes all */
}

_Noreturn static void run(int socket, int answer, char *data, size_t size, size_t fds_max) {
        struct iovec vector = { .iov_base = data, .iov_len = size };
        struct report report = {};
        union control control;
        int fds[SCM_MAX_FD];
        size_t n_fds = 0;
        char byte;

        make_room();
        report.n = receive(socket, &vector, 1, &control, MSG_DONTWAIT, fds, SCM_MAX_FD, &n_fds, &report.refused);
        report.refused |= n_fds > fds_max;
        for (size_t i = 0; i < n_fds && !report.refused; i++)
                report.refused = !is_internet_socket(fds[i]);
        send_report(answer, &report, data, fds, report.refused ? 0 : n_fds);
        /* Until the caller has taken them, or was without room for them: the last copy is to be here. */
        while (read(answer, &byte, 1) < 0 && errno == EINTR)
                ;
        _exit(0);
}

/* --- In the caller --- */

ssize_t stranger_receive(int socket, char *data, size_t size, int *ret_fds, size_t fds_max, size_t *ret_n_fds,
                         bool *ret_refused) {
        struct report report = {};
        struct iovec vectors[] = {
                { .iov_base = &report, .iov_len = sizeof(report) },
                { .iov_base = data, .iov_len = size },
        };
        struct msghdr look = { .msg_iov = &vectors[1], .msg_iovlen = 1 };
        union control control;
        int pair[2], r;
        ssize_t n;

        *ret_n_fds = 0;
        *ret_refused = false;
        /* Without a place for them nothing is given to us, and the kernel says whether there are any. */
        n = recvmsg(socket, &look, MSG_PEEK | MSG_DONTWAIT);
        if (n > 0 && !(look.msg_flags & MSG_CTRUNC))
                n = recv(socket, data, (size_t)n, MSG_DONTWAIT);
        if (n <= 0 || !(look.msg_flags & MSG_CTRUNC))
                return n < 0 ? -errno : n;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        r = elsewhere_fork((const int[]){ socket, pair[1] }, 2);
        if (r == 0) {
                fd_close(pair[0]); /* also where there is no close_range(2) */
                run(socket, pair[1], data, size, fds_max);
        }
        fd_close(pair[1]);
        n = r < 0 ? r : receive(pair[0], vectors, 2, &control, 0, ret_fds, fds_max, ret_n_fds, ret_refused);
        fd_close(pair[0]);
        if (*ret_refused || report.refused) {
                *ret_refused = true;
                elsewhere_close_all(ret_fds, *ret_n_fds);
                *ret_n_fds = 0;
        }
        if (n < (ssize_t)sizeof(report))
                return n < 0 ? n : -EIO;
        return report.n;
}
