/* The guest agent's client, against an agent of our own making. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "harness.h"
#include "vmhost/agent.h"

enum manner { OBEYS, REFUSES, IS_DUMB, HANGS_UP, ANSWERS_ANOTHER, DROPS_THE_DELIMITER, IS_LATE_FOR_ANOTHER };

struct stage {
        char *directory;
        struct loop *loop;
        struct agent *agent;
        enum manner manner;
        int listening, connection;
        struct source *accept, *talk;
        char heard[1024];
        size_t n_heard;
        bool answered, shut_down;
        unsigned n_results;
        int result;
};

static void on_result(int result, void *data) {
        struct stage *stage = data;

        stage->n_results++;
        stage->result = result;
        stage->agent = agent_free(stage->agent);
        loop_exit(stage->loop, 0);
}

static void say(struct stage *stage, const char *text) {
        assert_int_equal(send(stage->connection, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void answer_sync(struct stage *stage, long long id) {
        char line[128];

        stage->answered = true;
        snprintf(line, sizeof(line), "\xff{\"return\": %lld}\n",
                 stage->manner == ANSWERS_ANOTHER ? id + 1 : id);
        /* What another client left unread comes first, and looks like ours but for the delimiter. */
        if (stage->manner == IS_LATE_FOR_ANOTHER)
                say(stage, "{\"error\":{\"class\":\"x\"}}\nhalf a li");
        say(stage, stage->manner == DROPS_THE_DELIMITER ? line + 1 : line);
}

static int on_talk(struct source *source, int fd, uint32_t events, void *data) {
        static const char sync[] = "\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":";
        struct stage *stage = data;
        ssize_t n = recv(fd, stage->heard + stage->n_heard, sizeof(stage->heard) - 1 - stage->n_heard,
                         MSG_DONTWAIT);

        if (n <= 0) {
                source_set_events(source, 0);
                return 0;
        }
        stage->n_heard += (size_t)n;
        stage->heard[stage->n_heard] = '\0';
        if (!stage->answered && strchr(stage->heard, '\n')) {
                assert_memory_equal(stage->heard, sync, sizeof(sync) - 1);
                if (stage->manner == HANGS_UP)
                        shutdown(fd, SHUT_RDWR);
                else if (stage->manner != IS_DUMB)
                        answer_sync(stage, strtoll(stage->heard + sizeof(sync) - 1, NULL, 10));
        }
        if (strstr(stage->heard,
                   "{\"execute\":\"guest-shutdown\",\"arguments\":{\"mode\":\"powerdown\"}}\n")) {
                stage->shut_down = true;
                if (stage->manner == REFUSES)
                        say(stage, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"disabled\"}}\n");
        }
        return 0;
}

static int on_accept(struct source *source, int fd, uint32_t events, void *data) {
        struct stage *stage = data;

        stage->connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        assert_true(stage->connection >= 0);
        return loop_add_fd(stage->loop, &stage->talk, stage->connection, EPOLLIN, on_talk, stage);
}

static void run(struct stage *stage, enum manner manner, uint64_t timeout_us) {
        *stage = (struct stage){ .manner = manner, .connection = -1, .directory = harness_make_directory() };
        char *path = text_format("%s/agent.sock", stage->directory);
        stage->listening = fd_listen_unix(path, 0600);
        assert_true(stage->listening >= 0);
        free(path);
        assert_int_equal(loop_new(&stage->loop), 0);
        assert_int_equal(
                loop_add_fd(stage->loop, &stage->accept, stage->listening, EPOLLIN, on_accept, stage), 0);
        assert_int_equal(agent_shutdown(&stage->agent, stage->loop, stage->directory, "agent.sock",
                                        timeout_us, on_result, stage),
                         0);
        assert_int_equal(loop_run(stage->loop), 0);
        assert_int_equal(stage->n_results, 1);
        source_free(stage->talk);
        source_free(stage->accept);
        loop_free(stage->loop);
        fd_close(stage->connection);
        fd_close(stage->listening);
        harness_remove_directory(stage->directory);
}

static void test_manners(void **state) {
        static const struct {
                enum manner manner;
                int result;
                bool shut_down;
        } cases[] = {
                { OBEYS, 0, true },
                { IS_LATE_FOR_ANOTHER, 0, true },
                { REFUSES, -EREMOTEIO, true },
                { HANGS_UP, -ECONNRESET, false },
                { IS_DUMB, -ETIMEDOUT, false },
                { ANSWERS_ANOTHER, -ETIMEDOUT, false },
                { DROPS_THE_DELIMITER, -ETIMEDOUT, false },
        };
        struct stage stage;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                bool patient = cases[i].result != -ETIMEDOUT;
                run(&stage, cases[i].manner, patient ? 60000000 : 50000);
                assert_int_equal(stage.result, cases[i].result);
                assert_int_equal(stage.shut_down, cases[i].shut_down);
        }
}

static void test_nobody(void **state) {
        char *directory = harness_make_directory();
        struct loop *loop;
        struct agent *agent = NULL;

        assert_int_equal(loop_new(&loop), 0);
        assert_int_equal(agent_shutdown(&agent, loop, directory, "agent.sock", 1, on_result, NULL), -ENOENT);
        assert_null(agent);
        loop_free(loop);
        harness_remove_directory(directory);
}

HARNESS_MAIN(cmocka_unit_test(test_manners), cmocka_unit_test(test_nobody))
