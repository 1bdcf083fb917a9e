/*
 * The wire as a receiver of anything, through a real socket. The input is a list of chunks, each with a head
 * of two bytes: how many descriptors go with it (the low five bits of the first; so more than allowed too),
 * and how many of the following bytes it is long; a first byte of 0xff makes the chunk 256 times as long.
 */
#include "target.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "wire/wire.h"

#define FDS 31

/* Returns false when the socket is full: then the rest of the input is of no use. */
static bool send_chunk(int fd, const uint8_t *data, size_t size, size_t n_fds) {
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int) * FDS)];
        } control = {};
        struct iovec vector = { .iov_base = (void *)data, .iov_len = size };
        struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
        int fds[FDS];

        for (size_t i = 0; i < n_fds; i++)
                fds[i] = fd;
        if (n_fds > 0) {
                control.align.cmsg_level = SOL_SOCKET;
                control.align.cmsg_type = SCM_RIGHTS;
                control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                message.msg_control = control.bytes;
                message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
                memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
        }
        return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}

/* Receives until there is nothing to receive, and answers each message with itself. */
static int drain(struct wire *wire) {
        for (;;) {
                _cleanup_(wire_message_deinit) struct wire_message message = WIRE_MESSAGE_INIT;
                struct error error = ERROR_INIT;
                bool had_input = wire_has_input(wire);
                int r = wire_receive(wire, &message, &error);

                EXPECT(!had_input || r == WIRE_MESSAGE || r == WIRE_MALFORMED || r == WIRE_TOO_LONG);
                if (r == WIRE_MESSAGE) {
                        EXPECT(json_is_object(message.body) && message.n_fds <= WIRE_FDS_MAX);
                        for (size_t i = 0; i < message.n_fds; i++)
                                EXPECT(fcntl(message.fds[i], F_GETFD) == FD_CLOEXEC);
                        wire_send(wire, message.body, message.fds, message.n_fds);
                } else {
                        EXPECT(!message.body && message.n_fds == 0);
                        EXPECT((r == WIRE_MALFORMED || r == WIRE_TOO_LONG || r < 0) ==
                               (error.text[0] != '\0'));
                }
                if (r != WIRE_MESSAGE && r != WIRE_MALFORMED)
                        return r;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(wire_freep) struct wire *wire = NULL;
        _cleanup_fd_ int peer = -1;
        int pair[2];
        size_t before = fd_count_open();

        EXPECT(fd_socketpair(pair, false) == 0);
        peer = pair[1];
        EXPECT(wire_new(&wire, pair[0]) == 0);

        while (size > 2) {
                size_t n_fds = data[0] & 31, length = data[1] * (data[0] == 0xff ? 256u : 1u);

                if (data[0] == 0xff)
                        n_fds = 0;
                data += 2;
                size -= 2;
                if (length > size)
                        length = size;
                if (length == 0)
                        continue;
                if (!send_chunk(peer, data, length, n_fds))
                        break;
                data += length;
                size -= length;
                if (drain(wire) != WIRE_AGAIN)
                        break;
        }
        peer = fd_close(peer);
        drain(wire);
        wire = wire_free(wire);
        EXPECT(fd_count_open() == before);
        return 0;
}
