#include "pair.h"

#include "harness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"

int pair_setup(void **state) {
        static struct pair pair;
        int fds[2];

        assert_int_equal(fd_socketpair(fds, false), 0);
        assert_int_equal(wire_new(&pair.wire, fds[0]), 0);
        pair.peer = fds[1];
        *state = &pair;
        return 0;
}

int pair_teardown(void **state) {
        struct pair *pair = *state;

        pair->wire = wire_free(pair->wire);
        pair->peer = fd_close(pair->peer);
        return 0;
}

void pair_put_copies(struct pair *pair, const char *data, size_t size, int fd, size_t n_fds) {
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int) * 253)];
        } control = {};
        struct iovec vector = { .iov_base = (char *)data, .iov_len = size };
        struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
        int fds[253];

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
        assert_int_equal(sendmsg(pair->peer, &message, MSG_NOSIGNAL), size);
}

void pair_put_bytes(struct pair *pair, const char *data, size_t size, size_t n_fds) {
        _cleanup_fd_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

        pair_put_copies(pair, data, size, null, n_fds);
}

void pair_put(struct pair *pair, const char *text, size_t n_fds) {
        pair_put_bytes(pair, text, strlen(text), n_fds);
}

void pair_expect(struct pair *pair, const char *key, size_t n_fds) {
        _cleanup_(wire_message_deinit) struct wire_message message = WIRE_MESSAGE_INIT;
        struct error error = ERROR_INIT;

        assert_int_equal(wire_receive(pair->wire, &message, &error), WIRE_MESSAGE);
        assert_non_null(json_object_get(message.body, key));
        assert_int_equal(message.n_fds, n_fds);
        for (size_t i = 0; i < n_fds; i++)
                assert_int_equal(fcntl(message.fds[i], F_GETFD), FD_CLOEXEC);
}

const char *pair_expect_result(struct pair *pair, int result) {
        static struct error error;
        struct wire_message message = WIRE_MESSAGE_INIT;

        error = ERROR_INIT;
        assert_int_equal(wire_receive(pair->wire, &message, &error), result);
        assert_null(message.body);
        assert_int_equal(message.n_fds, 0);
        return error.text;
}

json_t *pair_make_body(size_t text_size) {
        char *text = malloc(text_size + 1);
        json_t *body = json_object();

        memset(text, 'x', text_size);
        text[text_size] = '\0';
        assert_int_equal(json_object_set_new(body, "a", json_string(text)), 0);
        free(text);
        return body;
}
