/* berth net enter: runs a command inside a network, as if on a VM of it. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "cli/command.h"
#include "cli/execute.h"
#include "cli/resolver.h"
#include "cli/view.h"

/* First the user namespace, which gives the right to enter the network namespace that belongs to it. */
static int enter_namespaces(int user_fd, int network_fd, const char *name, struct error *error) {
        if (user_fd >= 0 && setns(user_fd, CLONE_NEWUSER) < 0)
                return error_errno(error, -errno, "cannot enter the user namespace of network %s", name);
        if (setns(network_fd, CLONE_NEWNET) == 0)
                return 0;
        if (errno == EPERM && user_fd < 0 && geteuid() != 0)
                return error_set(error, -EPERM, "only root can enter a network of the system's broker");
        return error_errno(error, -errno, "cannot enter network %s", name);
}

static int run_net_enter(struct session *session, const struct arguments *arguments) {
        _cleanup_fd_ int user_fd = -1, network_fd = -1;
        json_auto_t *network = NULL;
        _cleanup_free_ char *text = NULL, *program = NULL;
        struct error warning = ERROR_INIT;
        const char *name = arguments->operands[0];
        int r;

        r = execute_find(arguments->command[0], &program, &session->error);
        if (r != STATUS_OK)
                return execute_complain(r, &session->error);
        r = session_connect_running(session);
        if (r < 0)
                return r;
        if (r > 0)
                r = berth_enter(session->berth, name, &user_fd, &network_fd, &text);
        else
                r = -ENOENT;
        if (r == -ENOENT)
                return error_set(&session->error, r,
                                 "network %s is not running: something has to use it, such as `berth run "
                                 "--network %s`",
                                 name, name);
        if (r < 0)
                return session_broker_error(session, r, "cannot enter network %s", name);
        network = json_loads(text, 0, NULL);

        r = enter_namespaces(user_fd, network_fd, name, &session->error);
        if (r < 0)
                return r;
        /* Without it the command still runs, by addresses. A network without DNS keeps the host's. */
        if (json_is_true(json_object_get(network, "dns")) &&
            resolver_replace(view_string(network, "gateway"), view_string(network, "domain"), &warning) < 0)
                fprintf(stderr, "berth: names of the network may not resolve: %s\n",
                        error_text(&warning, warning.code));
        return execute_complain(execute(program, arguments->command, &session->error), &session->error);
}

const struct command command_net_enter = {
        .name = "net enter",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .trailing = TRAILING_COMMAND,
        .summary = "Run a command inside a network",
        .help = "Runs a command in the network's namespace, where the gateway's addresses are its\n"
                "own, VMs are reached directly, and names resolve as they do for VMs. Files,\n"
                "environment and working directory stay the same. With an ordinary user's network\n"
                "the command sees itself as root, without more rights on files than that user has.\n"
                "\n"
                "  berth net enter shared -- curl http://web",
        .failure = STATUS_NOT_RUN,
        .run = run_net_enter,
};
