/* A peer: the other end of a connection of libberth, played by the test. */
#include "peer.h"

#include "harness.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

void peer_init(struct peer *peer, int *ret_fd) {
        int fds[2];

        assert_int_equal(fd_socketpair(fds, true), 0);
        peer->fd = fds[0];
        *ret_fd = fds[1];
}

void peer_close(struct peer *peer) {
        peer->fd = fd_close(peer->fd);
}

void peer_send(struct peer *peer, const char *bytes, const int *fds, size_t n_fds) {
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int) * 16)];
        } control = { 0 };
        struct iovec vector = { .iov_base = (char *)bytes, .iov_len = strlen(bytes) };
        struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };

        if (n_fds > 0) {
                control.align.cmsg_level = SOL_SOCKET;
                control.align.cmsg_type = SCM_RIGHTS;
                control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        }
        assert_int_equal(sendmsg(peer->fd, &message, MSG_NOSIGNAL), strlen(bytes));
}

void peer_expect(struct peer *peer, const char *bytes) {
        char buffer[4096];
        ssize_t n = read(peer->fd, buffer, sizeof(buffer) - 1);

        assert_true(n >= 0);
        buffer[n] = '\0';
        assert_string_equal(buffer, bytes);
}

void peer_expect_end(struct peer *peer) {
        char byte;

        assert_int_equal(read(peer->fd, &byte, 1), 0);
}
