/* berth-network: one process per live network. */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "config.h"
#include "network/leftover.h"
#include "network/network.h"

/*
 * The start, in order:
 *   1. parse the command line;
 *   2. read the configuration, and for a takeover the namespaces, from the broker's socket;
 *   3. end a process before this one that lingers;
 *   4. leave the outpost behind, and open what belongs to the host's namespace;
 *   5. make the namespaces, or enter those of the process that was killed;
 *   6. build the network in them (network_new);
 *   7. serve until it is retired.
 */
#define BROKER_FD 3
#define CONFIGURE_TIMEOUT 10000 /* milliseconds */
#define CREATE_FAILURE 6 /* of berth-protocol(7) */

static void help(FILE *f) {
        fprintf(f, "Usage: berth-network --name NAME\n\n"
                   "Holds one network of Berth. It is started by berthd(8), with a socket to it as file descriptor 3.\n\n"
                   "  --name NAME   the network's name, for the log and for ps(1)\n"
                   "  --help        this text\n"
                   "  --version     the version\n");
}

/* 0 to go on with *ret_name, else the exit status plus one. */
static int parse_arguments(int argc, char **argv, const char **ret_name) {
        static const struct option options[] = {
                { "name", required_argument, NULL, 'n' },
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'v' },
                {},
        };

        for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;)
                switch (c) {
                case 'n':
                        *ret_name = optarg;
                        break;
                case 'h':
                        help(stdout);
                        return 1;
                case 'v':
                        printf("berth-network %s\n", BERTH_VERSION);
                        return 1;
                default:
                        return 3;
                }
        if (!*ret_name || optind < argc || fcntl(BROKER_FD, F_GETFD) < 0) {
                help(stderr);
                return 3;
        }
        return 0;
}

/* Waits for one message, while no loop runs yet. */
static int receive(struct wire *broker, struct wire_message *ret, struct error *error) {
        for (;;) {
                int result = wire_receive(broker, ret, error);
                if (result == WIRE_MESSAGE)
                        return 0;
                if (result != WIRE_AGAIN)
                        return error_set(error, -ECONNRESET, "the broker went away before it said what to make");

                struct pollfd poll_fd = { .fd = wire_fd(broker), .events = POLLIN };
                int n = poll(&poll_fd, 1, CONFIGURE_TIMEOUT);
                if (n == 0)
                        return error_set(error, -ETIMEDOUT, "the broker said nothing for %d seconds",
                                         CONFIGURE_TIMEOUT / 1000);
                if (n < 0 && errno != EINTR)
                        return error_errno(error, -errno, "waiting for the broker");
        }
}

/* Waits for `configure`: the configuration, and the namespaces to take over (or none). */
static int receive_configuration(struct wire *broker, struct network_parts *parts, struct error *error) {
        struct wire_message message = WIRE_MESSAGE_INIT;

        int r = receive(broker, &message, error);
        if (r >= 0)
                r = configuration_init(&parts->configuration, message.body, error);
        if (r >= 0 && message.n_fds > 0) {
                bool user = !parts->configuration.system;
                if (message.n_fds != (user ? 2 : 1))
                        r = error_set(error, -EINVAL, "\"configure\" came with %zu namespaces", message.n_fds);
                else {
                        parts->namespace.user = user ? wire_message_take_fd(&message, 0) : -1;
                        parts->namespace.network = wire_message_take_fd(&message, user ? 1 : 0);
                }
        }
        wire_message_deinit(&message);
        return r;
}

/*
 * A broker that was killed while it started a process for this network has left one that the next broker could not
 * find. It ends here, before anything of ours is made. One that comes so late itself sees that its broker is gone:
 * that was before the next one began, so of two processes it is always the older that ends.
 */
static int replace_leftover(struct network_parts *parts, struct error *error) {
        struct pollfd broker = { .fd = wire_fd(parts->broker), .events = POLLRDHUP };
        _cleanup_free_ char *path = text_format("%s/network.pid", parts->configuration.state_directory);

        if (!path)
                return -ENOMEM;
        if (poll(&broker, 1, 0) > 0 && broker.revents)
                return error_set(error, -ECONNRESET, "the broker went away before the network was made");
        leftover_end(path, "berth-network");
        leftover_note(path, getpid());
        return 0;
}

static int set_namespaces(struct network_parts *parts, struct error *error) {
        struct namespace given = parts->namespace;

        parts->namespace = NAMESPACE_INIT;
        parts->host_namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        if (parts->host_namespace < 0) {
                namespace_deinit(&given);
                return error_errno(error, -errno, "opening /proc/self/ns/net");
        }
        if (given.network >= 0)
                return namespace_enter(given, &parts->namespace, error);
        return namespace_create(parts->configuration.system, &parts->namespace, error);
}

static int prepare(struct network_parts *parts, struct error *error) {
        int r = receive_configuration(parts->broker, parts, error);
        if (r >= 0)
                r = replace_leftover(parts, error);
        if (r >= 0)
                r = outpost_new(&parts->outpost, error);
        if (r >= 0)
                r = links_new(&parts->host_links, error);
        return r >= 0 ? set_namespaces(parts, error) : r;
}

/* Who ends us while we start is heard once the loop runs, which then takes down all that was made. */
static void hold_terminate(void) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigprocmask(SIG_BLOCK, &set, NULL);
}

static int on_terminate(struct source *source, const struct signalfd_siginfo *info, void *data) {
        network_retire(data);
        return 0;
}

static int serve(struct loop *loop, struct network_parts *parts, struct error *error) {
        struct network *network = NULL;
        _cleanup_(source_freep) struct source *terminate = NULL, *interrupt = NULL;

        int r = network_new(&network, loop, parts, error);
        if (r < 0)
                return r;
        r = loop_add_signal(loop, &terminate, SIGTERM, on_terminate, network);
        if (r >= 0)
                r = loop_add_signal(loop, &interrupt, SIGINT, on_terminate, network);
        if (r >= 0)
                r = loop_run(loop);
        network_free(network);
        return r;
}

static void tell_failure(struct network_parts *parts, const char *text) {
        if (!parts->broker)
                return;
        json_t *body = json_pack("{ss si ss%}", "command", "failed", "error", CREATE_FAILURE, "message", text,
                                 strlen(text));
        if (body && wire_send(parts->broker, body, NULL, 0) < 0)
                log_warning("the broker could not be told");
        json_decref(body);
}

int main(int argc, char **argv) {
        struct network_parts parts = { .host_namespace = -1, .namespace = NAMESPACE_INIT };
        _cleanup_(loop_freep) struct loop *loop = NULL;
        struct error error = ERROR_INIT;
        const char *name = NULL;

        int r = parse_arguments(argc, argv, &name);
        if (r != 0)
                return r - 1;
        _cleanup_free_ char *log_name = text_format("berth-network %s", name);
        log_set_name(log_name ? log_name : "berth-network");
        /* A terminal that closes is the client's affair. */
        signal(SIGHUP, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
        signal(SIGCHLD, SIG_DFL);
        hold_terminate();
        prctl(PR_SET_NAME, "berth-network");

        fd_set_cloexec(BROKER_FD, true);
        r = wire_new(&parts.broker, BROKER_FD);
        if (r >= 0)
                r = prepare(&parts, &error);
        if (r >= 0)
                r = loop_new(&loop);
        if (r >= 0)
                r = serve(loop, &parts, &error);
        if (r < 0) {
                log_error("%s", error_text(&error, r));
                tell_failure(&parts, error_text(&error, r));
        }
        wire_free(parts.broker);
        outpost_free(parts.outpost);
        links_free(parts.host_links);
        namespace_deinit(&parts.namespace);
        fd_close(parts.host_namespace);
        configuration_deinit(&parts.configuration);
        return r < 0 ? 1 : 0;
}
