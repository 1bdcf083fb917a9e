/* berth status: the broker, its networks, and what this machine has. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/machine.h"
#include "cli/orphans.h"
#include "cli/view.h"

#define LABEL_WIDTH 13

static void print_broker(const struct session *session, const json_t *list) {
        const json_t *broker = json_object_get(list, "broker");
        const char *socket = berth_get_socket(session->berth);

        if (broker)
                printf("%-*srunning: version %s, pid %" PRId64 ", %s mode, %" PRId64 " clients\n",
                       LABEL_WIDTH, "broker", view_string(broker, "version"), view_integer(broker, "pid"),
                       view_string(broker, "mode"), view_integer(broker, "clients"));
        else if (session->error.code < 0)
                printf("%-*snot reached: %s\n", LABEL_WIDTH, "broker", session->error.text);
        else
                printf("%-*snot running: %s\n", LABEL_WIDTH, "broker", session_broker_start(session));
        if (socket)
                printf("%-*s%s\n", LABEL_WIDTH, "socket", socket);
}

static void print_networks(const struct session *session, const json_t *list) {
        const json_t *networks = json_object_get(list, "networks"),
                     *definitions = json_object_get(list, "definitions");
        _cleanup_free_ char *orphans = NULL;
        const json_t *entry;
        const char *label = "networks";
        char buffer[VIEW_TEXT_SIZE];
        size_t i;

        json_array_foreach(networks, i, entry) {
                printf("%-*s%s: %s, %zu clients, %zu interfaces\n", LABEL_WIDTH, label,
                       view_string(entry, "name"), view_state(entry, buffer),
                       json_array_size(json_object_get(entry, "clients")),
                       json_array_size(json_object_get(entry, "interfaces")));
                label = "";
        }
        if (!list)
                orphans = orphans_list(berth_get_socket(session->berth));
        if (orphans && orphans[0])
                printf("%-*sleft by the last broker, to be taken over by the next: %s\n", LABEL_WIDTH, label,
                       orphans);
        else if (json_array_size(networks) == 0)
                printf("%-*snone is running\n", LABEL_WIDTH, label);
        label = "definitions";
        json_array_foreach(definitions, i, entry) {
                const char *problem = view_string(entry, "error");

                printf("%-*s%s: %s%s%s\n", LABEL_WIDTH, label, view_string(entry, "name"),
                       problem[0] ? "not usable: " : view_string(entry, "mode"), problem[0] ? "" : ", ",
                       problem[0] ? problem : view_string(entry, "source"));
                label = "";
        }
}

static void print_machine(const struct machine_check *checks, unsigned n_checks) {
        puts("\nThis machine");
        for (unsigned i = 0; i < n_checks; i++) {
                printf("  %-8s %-18s %s\n", machine_result_text(checks[i].result), checks[i].name,
                       checks[i].text);
                if (checks[i].advice[0])
                        printf("  %-8s %-18s %s\n", "", "", checks[i].advice);
        }
}

/* The broker's list with "socket", "message" (when it was not reached) and "checks" beside. */
static int print_json(const struct session *session, json_t *list, const struct machine_check *checks,
                      unsigned n_checks) {
        json_auto_t *status = json_object(), *rows = json_array();
        int r;

        if (!status || !rows)
                return -ENOMEM;
        for (unsigned i = 0; i < n_checks; i++) {
                r = json_array_append_new(rows,
                                          json_pack("{s:s, s:s, s:s, s:s}", "name", checks[i].name, "result",
                                                    machine_result_text(checks[i].result), "text",
                                                    checks[i].text, "advice", checks[i].advice));
                if (r < 0)
                        return -ENOMEM;
        }
        if (list)
                r = json_object_update(status, list);
        else
                r = json_object_update_new(
                        status, json_pack("{s:n, s:[], s:[]}", "broker", "networks", "definitions"));
        if (r < 0 ||
            json_object_set_new(status, "socket", json_pack("s?", berth_get_socket(session->berth))) < 0 ||
            json_object_set_new(status, "message",
                                json_pack("s?", session->error.code < 0 ? session->error.text : NULL)) < 0 ||
            json_object_set(status, "checks", rows) < 0)
                return -ENOMEM;
        return view_print_json(status);
}

static int run_status(struct session *session, const struct arguments *arguments) {
        struct machine_check checks[MACHINE_CHECKS_MAX];
        json_auto_t *list = NULL;
        bool system = session->system || geteuid() == 0;
        unsigned n_checks;
        int r;

        /* A broker that cannot be reached is part of the answer, not the end of it. */
        r = session_connect_running(session);
        if (r > 0)
                r = session_list(session, NULL, &list);
        else if (r == 0)
                session->error = ERROR_INIT;
        if (!session->berth)
                return r;
        if (list)
                system = text_equal(view_string(json_object_get(list, "broker"), "mode"), "system");
        n_checks = machine_look(system, checks);

        if (arguments_has(arguments, "json"))
                return print_json(session, list, checks, n_checks) < 0
                               ? error_set(&session->error, -ENOMEM, "out of memory")
                               : STATUS_OK;
        print_broker(session, list);
        print_networks(session, list);
        print_machine(checks, n_checks);
        return STATUS_OK;
}

static const struct option_spec options[] = {
        { "json", NULL, "The same for programs: the broker's list with its socket\nand the checks." },
};

const struct command command_status = {
        .name = "status",
        .summary = "Show the broker, its networks, and check this machine",
        .help = "Shows whether a broker runs, what networks there are, and whether this machine has\n"
                "what networks and VMs need, with what to do where it has not. It starts nothing.",
        .options = options,
        .n_options = ARRAY_SIZE(options),
        .failure = STATUS_FAILED,
        .run = run_status,
};
