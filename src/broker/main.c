/* berthd: the broker. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "broker/activation.h"
#include "broker/adoption.h"
#include "broker/broker.h"
#include "broker/client.h"
#include "broker/directories.h"
#include "broker/listener.h"
#include "broker/options.h"

#define LOG_MAX (1024 * 1024) /* bytes of an old log; more is thrown away at the next start */

enum exit_status { EXIT_USAGE = 2, EXIT_ANOTHER_RUNS = 3 };

struct program {
        struct options options;
        struct directories directories;
        char *network_program;
        struct loop *loop;
        struct source *terminate, *interrupt;
        struct broker *broker;
        struct listener *listener;
        struct adoption *adoption;
        int activated; /* owned until there is a listener; -1: not started by a socket */
        int ready_fd; /* owned */
};

static void program_deinit(struct program *program) {
        adoption_free(program->adoption);
        listener_free(program->listener);
        broker_free(program->broker);
        source_free(program->interrupt);
        source_free(program->terminate);
        loop_free(program->loop);
        free(program->network_program);
        directories_deinit(&program->directories);
        fd_close(program->activated);
        fd_close(program->ready_fd);
}

/* One line to whoever started this process and waits: "ready", or why not. */
static void tell_starter(int *ready_fd, const char *line) {
        if (*ready_fd >= 0 && dprintf(*ready_fd, "%s\n", line) < 0)
                log_debug("nobody waits at --ready-fd");
        *ready_fd = fd_close(*ready_fd);
}

static void on_connection(void *data, int consume_fd) {
        struct program *program = data;

        int r = client_new(program->broker, consume_fd);
        if (r < 0 && r != -EDQUOT)
                log_warning("a client is turned away: %s", strerror(-r));
}

static int on_signal(struct source *source, const struct signalfd_siginfo *info, void *data) {
        struct program *program = data;

        log_info("ending on a signal; networks go on running");
        loop_exit(program->loop, 0);
        return 0;
}

/* A user's broker mostly has no terminal and no journal behind its standard error. */
static int open_log(const struct directories *directories, struct error *error) {
        _cleanup_free_ char *path = text_format("%s/berthd.log", directories->runtime);
        struct stat status;

        if (!path)
                return -ENOMEM;
        _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return error_errno(error, -errno, "cannot write to %s", path);
        if (fstat(fd, &status) == 0 && status.st_size > LOG_MAX && ftruncate(fd, 0) < 0)
                return error_errno(error, -errno, "cannot shorten %s", path);
        return dup2(fd, STDERR_FILENO) < 0 ? -errno : 0;
}

/* Each handle on a network is a file descriptor here, and a select(2) that would mind is nowhere in sight. */
static void raise_fd_limit(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                limit.rlim_cur = limit.rlim_max;
                if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                        log_warning("cannot raise the limit of open files: %s", strerror(errno));
        }
}

/* What is inherited by accident must not be inherited further, and 0 to 2 must not become sockets. */
static int settle_fds(void) {
        int r = fd_fill_standard();

        if (r < 0)
                return r;
        return close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0 && errno != ENOSYS && errno != EINVAL ? -errno
                                                                                                  : 0;
}

static void on_adopted(void *data) {
        struct program *program = data;

        int r = listener_accept(program->listener);
        if (r < 0) {
                loop_exit(program->loop, r);
                return;
        }
        program->broker->listener = program->listener;
        broker_check_idle(program->broker);
        activation_notify("READY=1");
        tell_starter(&program->ready_fd, "ready");
}

static int start_loop(struct program *program, struct error *error) {
        int r = loop_new(&program->loop);

        if (r == 0)
                r = loop_add_signal(program->loop, &program->terminate, SIGTERM, on_signal, program);
        if (r == 0)
                r = loop_add_signal(program->loop, &program->interrupt, SIGINT, on_signal, program);
        return r < 0 ? error_errno(error, r, "cannot make an event loop") : 0;
}

static int open_socket(struct program *program, struct error *error) {
        int r;

        if (program->activated >= 0)
                r = listener_new_activated(&program->listener, program->loop, steal_fd(&program->activated),
                                           on_connection, program);
        else
                r = listener_new(&program->listener, program->loop, program->directories.socket,
                                 program->options.system ? 0666 : 0600, on_connection, program);
        return r < 0 ? r : listener_open(program->listener, error);
}

static int start(struct program *program, struct error *error) {
        const struct options *options = &program->options;
        int r;

        /* 1. The places, and the right to be the only one there. */
        r = directories_init(&program->directories, options, error);
        if (r < 0)
                return r;
        r = directories_lock(&program->directories, error);
        if (r < 0)
                return r;
        program->network_program = directories_find_network_program(options, error);
        if (!program->network_program)
                return -ENOENT;

        /* 2. What everything below leans on: the limit of files, the log, the loop with its signals. */
        raise_fd_limit();
        if (!options->system && !options->foreground && !getenv("JOURNAL_STREAM")) {
                r = open_log(&program->directories, error);
                if (r < 0)
                        return r;
        }
        r = start_loop(program, error);
        if (r < 0)
                return r;

        /* 3. The broker and what it remembers. */
        const struct broker_settings settings = {
                .policy = { .system = options->system, .own_uid = getuid() },
                .runtime = program->directories.runtime,
                .state = program->directories.state,
                .definitions = program->directories.definitions,
                .network_program = program->network_program,
                .idle_timeout = options->idle_timeout,
        };
        r = broker_new(&program->broker, program->loop, &settings, error);
        if (r < 0)
                return r;

        /* 4. The socket: clients can connect from here on, and wait. */
        r = open_socket(program, error);
        if (r < 0)
                return r;

        /* 5. Networks of before. Then on_adopted lets the clients in and says that all is ready. */
        return adoption_start(program->broker, on_adopted, program, &program->adoption);
}

/* Its life: 0, or -errno with a text where it did not come to be. */
static int run(struct program *program, struct error *error) {
        int r;

        signal(SIGPIPE, SIG_IGN);
        signal(SIGCHLD, SIG_DFL); /* ignored, as some starters leave it, it takes children's ends from us */
        signal(SIGHUP, SIG_IGN); /* files are read when they are needed, so there is nothing to reload */
        r = settle_fds();
        if (r < 0)
                return r;
        program->activated = activation_take_socket();
        if (program->activated == -EINVAL)
                return error_set(error, -EINVAL, "started with something other than one listening Unix socket");
        r = start(program, error);
        if (r < 0)
                return r;
        r = loop_run(program->loop);
        activation_notify("STOPPING=1");
        return r;
}

int main(int argc, char **argv) {
        struct program program = { .directories = DIRECTORIES_INIT, .activated = -1, .ready_fd = -1 };
        struct error error = ERROR_INIT;
        int r;

        log_set_name("berthd");
        r = options_parse(argc, argv, &program.options, &error);
        if (r < 0) {
                fprintf(stderr, "berthd: %s\n", error_text(&error, r));
                return EXIT_USAGE;
        }
        if (r == OPTIONS_DONE)
                return EXIT_SUCCESS;
        if (program.options.debug)
                log_set_level(LOG_LEVEL_DEBUG);
        program.ready_fd = program.options.ready_fd;

        r = run(&program, &error);
        if (r < 0)
                log_error("%s", error_text(&error, r));
        /* Last of all, so that whoever hears it may start another at once: the lock and the socket's name are free. */
        _cleanup_fd_ int ready_fd = steal_fd(&program.ready_fd);
        program_deinit(&program);
        if (r < 0)
                tell_starter(&ready_fd, error_text(&error, r));
        return r == -EALREADY ? EXIT_ANOTHER_RUNS : r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
