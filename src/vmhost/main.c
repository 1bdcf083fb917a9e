/* vmhost: one process per VM. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/place.h"
#include "base/text.h"
#include "vmhost/claim.h"
#include "vmhost/configuration.h"
#include "vmhost/control.h"
#include "vmhost/controller-fake.h"
#include "vmhost/controller-qemu.h"
#include "vmhost/detach.h"
#include "vmhost/log-file.h"
#include "vmhost/options.h"
#include "vmhost/supervisor.h"

/*
 * The start, in order:
 *   1. parse the command line, find the VM's directory, settle what was inherited;
 *   2. lock the directory: a second vmhost for a VM ends here, in front of whoever started it;
 *   3. detach, and log to the directory;
 *   4. block signals, and write the pid file;
 *   5. read the configuration and the state, make the controller;
 *   6. listen on the control socket: from here on there are answers; listen anew where somebody removes it;
 *   7. adopt the VM that runs, or start it; tell the starter when QEMU lives;
 *   8. loop, until the VM has ended for good; the record is on the disk before the files go.
 */
#define LOG_MAX (1024 * 1024) /* bytes of an old log; more is thrown away at the next start */
#define LOOK_EVERY 1000000U /* microseconds */

enum exit_status { EXIT_USAGE = 2, EXIT_ANOTHER_RUNS = 3, EXIT_NOTHING_RUNS = 4 };

struct program {
        struct options options;
        char *directory, *log;
        struct claim claim;
        int ready_fd; /* owned; -1 when nobody waits any more */
        struct loop *loop;
        struct source *terminate, *interrupt;
        bool interrupted;
        struct configuration *configuration;
        struct supervisor *supervisor;
        struct control *control;
        struct source *look; /* whether pid file and socket are still there */
        bool look_failed; /* and that has been logged */
        bool failed; /* the VM never came up, or ended badly */
        bool up; /* it did come up, or was adopted */
        bool gone; /* there was none to adopt */
        /* What the starter is told that waits for the VM to come up, when that is over: where all is given back. */
        int last_status;
        char *last_word; /* owned */
};

static void program_deinit(struct program *program) {
        control_free(program->control);
        supervisor_free(program->supervisor);
        claim_withdraw(&program->claim);
        source_free(program->look);
        source_free(program->interrupt);
        source_free(program->terminate);
        loop_free(program->loop);
        configuration_free(program->configuration);
        claim_deinit(&program->claim);
        fd_close(program->ready_fd);
        free(program->last_word);
        free(program->directory);
        free(program->log);
}

static void set_last_word(struct program *program, int status, const char *line) {
        free(program->last_word);
        program->last_status = status;
        program->last_word = strdup(line);
}

/* ---- What the supervisor says ---- */

static void on_event(const json_t *event, void *data) {
        struct program *program = data;

        if (program->control)
                control_send_event(program->control, event);
}

static void on_up(void *data) {
        struct program *program = data;

        program->up = true;
        detach_tell(&program->ready_fd, EXIT_SUCCESS, "ready");
        malloc_trim(0); /* the start needed more than the long wait that follows */
}

static void on_finished(void *data) {
        struct program *program = data;

        program->failed = supervisor_get_controller(program->supervisor)->phase == PHASE_FAILED;
        /* Whoever is told of the end finds nothing of it. */
        claim_withdraw(&program->claim);
        program->gone = program->options.adopt && !program->up;
        if (program->gone)
                set_last_word(program, EXIT_NOTHING_RUNS, "the VM has just ended");
        else if (program->failed)
                set_last_word(program, EXIT_FAILURE, supervisor_end_reason(program->supervisor));
        else
                set_last_word(program, EXIT_FAILURE, "the VM was stopped before it was up");
        control_finish(program->control);
        loop_exit(program->loop, 0);
}

static const struct supervisor_listener supervisor_listener = {
        .on_event = on_event,
        .on_up = on_up,
        .on_finished = on_finished,
};

/* ---- The start ---- */

static int on_signal(struct source *source, const struct signalfd_siginfo *info, void *data) {
        struct program *program = data;

        log_info("signal %u: the VM is stopped", info->ssi_signo);
        /* A terminal's second Ctrl-C means it. */
        if (info->ssi_signo == SIGINT && program->interrupted)
                supervisor_force_stop(program->supervisor);
        else
                supervisor_stop(program->supervisor, 0);
        program->interrupted = program->interrupted || info->ssi_signo == SIGINT;
        return 0;
}

/* By time, for an inotify(7) takes its time to close: a killed vmhost would hold the lock for longer. */
static int on_look(struct source *source, void *data) {
        struct program *program = data;
        struct error error = ERROR_INIT;
        int listening;

        source_arm(source, LOOK_EVERY);
        int r = claim_restore(&program->claim, &listening, &error);
        if (r > 0) {
                log_warning("somebody removed the control socket; it is there again");
                r = control_move(program->control, listening);
        }
        if (r < 0 && !program->look_failed)
                log_error("%s", error_text(&error, r));
        program->look_failed = r < 0;
        return 0;
}

/* What is inherited by accident must not be held for a VM's life, and 0 to 2 must not become sockets. */
static int settle_fds(void) {
        int r = fd_fill_standard();

        if (r < 0)
                return r;
        return close_range(3, ~0U, 0) < 0 && errno != ENOSYS ? -errno : 0;
}

/* The VM's directory, absolute, for the working directory is left. */
static int find_directory(struct program *program, struct error *error) {
        const char *given = program->options.config_directory;
        _cleanup_free_ char *usual = NULL;
        char absolute[PATH_MAX];

        if (!given) {
                int r = place_state(geteuid() == 0, &usual, error);
                if (r < 0)
                        return r;
                given = usual;
        }
        _cleanup_free_ char *path = text_format("%s/vms/%s", given, program->options.name);
        if (!path)
                return error_errno(error, -ENOMEM, "cannot begin");
        if (!realpath(path, absolute))
                return error_errno(error, -errno, "no VM \"%s\": %s", program->options.name, path);
        program->directory = strdup(absolute);
        program->log = text_format("%s/" LOG_FILE_VMHOST, absolute);
        return program->directory && program->log ? 0 : error_errno(error, -ENOMEM, "cannot begin");
}

static int start_loop(struct program *program, struct error *error) {
        int r = loop_new(&program->loop);

        if (r == 0)
                r = loop_add_signal(program->loop, &program->terminate, SIGTERM, on_signal, program);
        if (r == 0)
                r = loop_add_signal(program->loop, &program->interrupt, SIGINT, on_signal, program);
        if (r == 0)
                r = loop_add_timer(program->loop, &program->look, on_look, program);
        return r < 0 ? error_errno(error, r, "cannot make an event loop") : 0;
}

static enum restart_policy policy_of(const struct configuration *configuration) {
        switch (configuration ? configuration->restart : RESTART_NO) {
        case RESTART_ALWAYS:
                return RESTART_POLICY_ALWAYS;
        case RESTART_ON_FAILURE:
                return RESTART_POLICY_ON_FAILURE;
        default:
                return RESTART_POLICY_NO;
        }
}

/* The configuration, unless the backend needs none and has none. */
static int load_configuration(struct program *program, struct error *error) {
        _cleanup_free_ char *path = text_format("%s/config.json", program->directory);

        if (!path)
                return error_errno(error, -ENOMEM, "cannot begin");
        if (program->options.fake && access(path, F_OK) < 0)
                return 0;
        return configuration_load(&program->configuration, path, program->options.name, error);
}

static int make_supervisor(struct program *program, struct error *error) {
        int configured = load_configuration(program, error);
        const struct configuration *configuration = program->configuration;
        const struct supervisor_settings settings = {
                .directory = program->directory,
                .name = program->options.name,
                .policy = policy_of(configuration),
                .adopt_only = program->options.adopt,
                .stop_budget_ms = configuration ? (uint64_t)configuration->stop_timeout_seconds * 1000
                                                : SUPERVISOR_STOP_MS,
        };
        int r;

        r = supervisor_new(&program->supervisor, program->loop, &settings,
                           program->options.fake ? "fake" : "qemu", &supervisor_listener, program,
                           configured < 0 ? NULL : error);
        if (r < 0)
                return r;
        /* A VM that runs is looked after, however its file was spoilt meanwhile. */
        if (configured < 0 && !program->options.adopt && !supervisor_has_run(program->supervisor))
                return configured;
        if (configured < 0)
                log_warning("%s", error_text(error, configured));
        return 0;
}

static int make_controller(struct program *program, struct controller **ret, struct error *error) {
        const struct controller_listener *listener = supervisor_controller_listener();
        const struct options *options = &program->options;
        int r;

        if (!options->fake)
                return controller_qemu_new(
                        ret, program->loop, program->directory, options->name, program->configuration,
                        supervisor_last_ssh_port(program->supervisor), listener, program->supervisor, error);
        r = controller_fake_new(ret, program->loop, options->fake_behaviour, options->fake_ssh_port, listener,
                                program->supervisor);
        return r < 0 ? error_errno(error, r, "cannot begin") : 0;
}

static int start(struct program *program, struct error *error) {
        struct controller *controller = NULL;
        int r;

        r = start_loop(program, error);
        if (r < 0)
                return r;
        int listening = claim_publish(&program->claim, error);
        if (listening < 0)
                return listening;
        r = make_supervisor(program, error);
        if (r >= 0)
                r = make_controller(program, &controller, error);
        if (r < 0) {
                fd_close(listening);
                return r;
        }
        /* The socket's first client is looked at by the loop, when all is there. */
        r = control_new(&program->control, program->loop, listening, program->supervisor);
        if (r < 0) {
                controller_free(controller);
                return error_errno(error, r, "cannot serve the control socket");
        }
        source_arm(program->look, LOOK_EVERY);
        r = supervisor_begin(program->supervisor, controller, error);
        program->gone = program->options.adopt && r == -ESRCH;
        if (r >= 0 && program->options.no_wait)
                detach_tell(&program->ready_fd, EXIT_SUCCESS, "ready");
        return r;
}

static int prepare(struct program *program, struct error *error) {
        int r = settle_fds();

        if (r < 0)
                return error_errno(error, r, "cannot begin");
        signal(SIGPIPE, SIG_IGN);
        signal(SIGHUP, SIG_IGN); /* a terminal that closes is no concern of a VM's */
        signal(SIGCHLD,
               SIG_DFL); /* ignored, which a starter may hand on, it keeps from us how children ended */
        r = find_directory(program, error);
        if (r >= 0)
                r = claim_take(&program->claim, program->directory, program->options.name, error);
        if (r < 0 || program->options.foreground)
                return r;
        r = detach(program->log, program->claim.lock, &program->ready_fd, error);
        return r < 0 ? r : detach_redirect(program->log, LOG_MAX, error);
}

/* --check: touches nothing, and needs neither the lock nor a VM that does not run. */
static int show_configuration(struct program *program, struct error *error) {
        const struct options *options = &program->options;
        int r = options->check_file ? 0 : find_directory(program, error);

        if (r >= 0)
                r = options->check_file ? configuration_load(&program->configuration, options->check_file,
                                                             options->name, error)
                                        : load_configuration(program, error);
        if (r < 0)
                return r;
        json_auto_t *object = program->configuration ? configuration_describe(program->configuration)
                                                     : json_object();
        if (!object || json_dumpf(object, stdout, JSON_INDENT(2)) < 0 || puts("") < 0 || fflush(stdout) != 0)
                return error_set(error, -EIO, "cannot print the configuration");
        return 0;
}

static int check(struct program *program) {
        struct error error = ERROR_INIT;
        int r = show_configuration(program, &error);

        if (r < 0)
                fprintf(stderr, "vmhost: %s\n", error_text(&error, r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* The exit status of a vmhost that does not begin. */
static int give_up(struct program *program, int reason, const struct error *error) {
        const char *text = error_text(error, reason);
        int status = program->gone          ? EXIT_NOTHING_RUNS
                     : reason == -EALREADY ? EXIT_ANOTHER_RUNS
                                           : EXIT_FAILURE;

        /* In front of the starter a plain line, in the log one with its time. */
        if (!program->options.foreground && program->ready_fd < 0)
                fprintf(stderr, "vmhost: %s\n", text);
        else
                log_error("%s", text);
        set_last_word(program, status, text);
        return status;
}

/* The VM, until it has ended for good: the exit status. */
static int supervise(struct program *program) {
        _cleanup_free_ char *log_name = text_format("vmhost %s", program->options.name);
        struct error error = ERROR_INIT;
        int r;

        log_set_name(log_name ? log_name : "vmhost");
        if (program->options.debug)
                log_set_level(LOG_LEVEL_DEBUG);
        mallopt(M_ARENA_MAX, 1); /* a thread that prepares a start must not leave a heap of its own behind */

        r = prepare(program, &error);
        if (r >= 0)
                r = start(program, &error);
        if (r < 0)
                return give_up(program, r, &error);
        r = loop_run(program->loop);
        if (r < 0)
                log_error("%s", strerror(-r));
        if (program->gone)
                return EXIT_NOTHING_RUNS;
        return r < 0 || program->failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        struct program program = { .claim = CLAIM_INIT, .ready_fd = -1 };
        struct error error = ERROR_INIT;

        log_set_name("vmhost");
        int r = options_parse(argc, argv, &program.options, &error);
        if (r == OPTIONS_DONE)
                return EXIT_SUCCESS;
        if (r < 0) {
                fprintf(stderr, "vmhost: %s\n", error_text(&error, r));
                return EXIT_USAGE;
        }
        int status = program.options.check ? check(&program) : supervise(&program);

        /* Last of all, so that whoever hears it may start another at once: lock, networks and ports are free. */
        _cleanup_fd_ int ready_fd = steal_fd(&program.ready_fd);
        _cleanup_free_ char *word = steal_ptr(program.last_word);
        program_deinit(&program);
        if (word)
                detach_tell(&ready_fd, program.last_status, word);
        return status;
}
