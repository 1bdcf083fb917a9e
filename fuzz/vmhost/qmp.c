/* The QMP client: whatever QEMU says, in whatever pieces, each call has one reply and nothing breaks. */
#include "target.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "vmhost/qmp.h"

#define CALLS 3

struct stage {
        unsigned n_replies, n_closed;
};

static void on_ready(struct qmp *qmp, void *data) {
}

static void on_event(struct qmp *qmp, const char *event, json_t *details, void *data) {
        EXPECT(event);
}

static void on_life(struct qmp *qmp, void *data) {
}

static void on_closed(struct qmp *qmp, int reason, void *data) {
        ((struct stage *)data)->n_closed++;
}

static void on_reply(struct qmp *qmp, int result, json_t *value, void *data) {
        ((struct stage *)data)->n_replies++;
        EXPECT((result == 0) <= (value != NULL));
}

static const struct qmp_handlers handlers = { on_ready, on_event, on_life, on_closed };

/* The first byte says how long the pieces are. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct stage stage = { 0 };
        struct loop *loop;
        struct qmp *qmp;
        int fds[2];

        if (size < 2)
                return 0;
        size_t piece = data[0] ? data[0] : 1;
        EXPECT(fd_socketpair(fds, true) == 0 && loop_new(&loop) == 0);
        EXPECT(qmp_new(&qmp, loop, fds[0], &handlers, &stage) == 0);
        for (int i = 0; i < CALLS; i++)
                EXPECT(qmp_call(qmp, "query-status", NULL, 1000000000, on_reply, &stage) == 0);
        for (size_t i = 1; i < size; i += piece) {
                size_t n = size - i < piece ? size - i : piece;
                if (send(fds[1], data + i, n, MSG_NOSIGNAL) != (ssize_t)n)
                        break;
                qmp_drain(qmp);
        }
        EXPECT(stage.n_closed <= 1);
        qmp_free(qmp);
        EXPECT(stage.n_replies == CALLS);
        loop_free(loop);
        fd_close(fds[1]);
        return 0;
}
