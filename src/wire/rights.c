#include "wire/rights.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/elsewhere.h"
#include "base/fd.h"
#include "wire/wire.h"

union control {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)];
};

void rights_close(int *fds, size_t n, bool foreign) {
        if (foreign)
                elsewhere_close_all(fds, n);
        for (size_t i = 0; i < n; i++)
                fds[i] = fd_close(fds[i]);
}

ssize_t rights_send(int socket, struct iovec *vectors, size_t n_vectors, const int *fds, size_t n_fds) {
        union control control = {};
        struct msghdr message = { .msg_iov = vectors, .msg_iovlen = n_vectors };
        ssize_t n;

        if (n_fds > 0) {
                control.align.cmsg_level = SOL_SOCKET;
                control.align.cmsg_type = SCM_RIGHTS;
                control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                message.msg_control = control.bytes;
                message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
                memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
        }
        do
                n = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return errno == EAGAIN ? 0 : -errno;
        return n;
}

static void collect(struct msghdr *message, int *ret_fds, size_t fds_max, size_t *ret_n_fds,
                    bool *ret_refused, bool foreign) {
        *ret_n_fds = 0;
        *ret_refused = (message->msg_flags & MSG_CTRUNC) != 0;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
                const unsigned char *data = CMSG_DATA(c);

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                for (size_t size = c->cmsg_len - CMSG_LEN(0); size >= sizeof(int); size -= sizeof(int)) {
                        int fd;

                        memcpy(&fd, data, sizeof(fd));
                        data += sizeof(fd);
                        if (*ret_n_fds < fds_max) {
                                ret_fds[(*ret_n_fds)++] = fd;
                        } else {
                                rights_close(&fd, 1, foreign);
                                *ret_refused = true;
                        }
                }
        }
}

ssize_t rights_receive(int socket, char *data, size_t size, int *ret_fds, size_t fds_max, size_t *ret_n_fds,
                       bool *ret_refused, bool foreign) {
        union control control;
        struct iovec vector = { .iov_base = data, .iov_len = size };
        struct msghdr message = {
                .msg_iov = &vector,
                .msg_iovlen = 1,
                .msg_control = control.bytes,
                .msg_controllen = sizeof(control.bytes),
        };
        ssize_t n;

        do
                n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        collect(&message, ret_fds, fds_max, ret_n_fds, ret_refused, foreign);
        return n;
}
