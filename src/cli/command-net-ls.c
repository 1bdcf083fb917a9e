/* berth net ls: the networks there are. */
#include <errno.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/orphans.h"
#include "cli/table.h"
#include "cli/view.h"

/* The networks that need no broker to be known, before the first one runs. */
static const char *const built_in[] = { "shared", "host" };

static bool is_live(const json_t *networks, const char *name) {
        const json_t *network;
        size_t i;

        json_array_foreach(networks, i, network)
                if (text_equal(view_string(network, "name"), name))
                        return true;
        return false;
}

/* The names alone, one per line: for shells. */
static void print_names(const json_t *list) {
        const json_t *networks = json_object_get(list, "networks"), *entry;
        size_t i;

        if (!list)
                for (i = 0; i < ARRAY_SIZE(built_in); i++)
                        puts(built_in[i]);
        json_array_foreach(networks, i, entry)
                puts(view_string(entry, "name"));
        json_array_foreach(json_object_get(list, "definitions"), i, entry)
                if (!json_object_get(entry, "error") && !is_live(networks, view_string(entry, "name")))
                        puts(view_string(entry, "name"));
}

/* A network whose process does not answer has none, nor one that would make the answer too long for a line.
 */
static void add_count(struct table *table, const json_t *list) {
        if (list)
                table_add(table, "%zu", json_array_size(list));
        else
                table_add(table, "?");
}

static void add_network(struct table *table, const json_t *network) {
        char buffer[VIEW_TEXT_SIZE];

        table_add(table, "%s", view_string(network, "name"));
        table_add(table, "%s", view_string(network, "mode"));
        table_add(table, "%s", view_subnet(network, buffer));
        table_add(table, "%s", view_ipv6_prefix(network, buffer));
        add_count(table, json_object_get(network, "clients"));
        add_count(table, json_object_get(network, "interfaces"));
        table_add(table, "%s", view_state(network, buffer));
}

static void add_definition(struct table *table, const json_t *definition) {
        const char *source = view_string(definition, "source");

        table_add(table, "%s", view_string(definition, "name"));
        table_add(table, "%s", view_string(definition, "mode"));
        for (size_t i = 0; i < 4; i++)
                table_add(table, "%s", "");
        table_add(table, "defined (%s)", source);
}

/* A file that is wrong is reported whatever was asked for: its owner would look for the network in vain. */
static void print_errors(const json_t *definitions) {
        const json_t *definition;
        size_t i;

        fflush(stdout); /* below the table, also where both end in one file */
        json_array_foreach(definitions, i, definition)
                if (json_object_get(definition, "error"))
                        fprintf(stderr, "berth: network %s is not usable: %s\n",
                                view_string(definition, "name"), view_string(definition, "error"));
}

/* Without a broker there is nobody to ask; what a killed one left behind is there all the same. */
static void print_none(struct session *session, bool all) {
        _cleanup_free_ char *orphans = orphans_list(berth_get_socket(session->berth));

        if (orphans && orphans[0])
                printf("No broker is running; left by the last one: %s.\nThe next one takes them over: %s.\n",
                       orphans, session_broker_start(session));
        else
                puts("No networks are running.");
        if (all)
                printf("Built in are %s and %s; the others are known when a broker runs: %s.\n", built_in[0],
                       built_in[1], session_broker_start(session));
}

static int print_table(struct session *session, const json_t *list, bool all) {
        static const char *const headings[] = { "NETWORK",  "MODE",        "SUBNET", "IPV6",
                                                ">CLIENTS", ">INTERFACES", "STATE" };
        _cleanup_(table_freep) struct table *table = table_new(headings, ARRAY_SIZE(headings));
        const json_t *networks = json_object_get(list, "networks"), *entry;
        size_t i, rows = json_array_size(networks);

        if (!table)
                return error_set(&session->error, -ENOMEM, "out of memory");
        json_array_foreach(networks, i, entry)
                add_network(table, entry);
        if (all) {
                json_array_foreach(json_object_get(list, "definitions"), i, entry) {
                        if (json_object_get(entry, "error") || is_live(networks, view_string(entry, "name")))
                                continue;
                        add_definition(table, entry);
                        rows++;
                }
        }
        if (rows == 0 && !list)
                print_none(session, all);
        else if (rows == 0)
                puts("No networks are running.");
        else if (table_print(table, stdout) < 0)
                return error_set(&session->error, -ENOMEM, "out of memory");
        print_errors(json_object_get(list, "definitions"));
        return STATUS_OK;
}

static int run_net_ls(struct session *session, const struct arguments *arguments) {
        json_auto_t *list = NULL;
        int r;

        r = session_connect_running(session);
        if (r > 0)
                r = session_list(session, NULL, &list);
        if (r < 0)
                return r;
        if (arguments_has(arguments, "names")) {
                print_names(list);
                return STATUS_OK;
        }
        if (!arguments_has(arguments, "json"))
                return print_table(session, list, arguments_has(arguments, "all"));
        if (!list)
                list = json_pack("{s:n, s:[], s:[]}", "broker", "networks", "definitions");
        if (!list || view_print_json(list) < 0)
                return error_set(&session->error, -ENOMEM, "out of memory");
        return STATUS_OK;
}

static const struct option_spec options[] = {
        { "all", NULL, "Also those that are defined and not running." },
        { "json", NULL, "What the broker says, for programs." },
        { "names", NULL, "Only the names, one per line, also of those that are not\nrunning." },
};

const struct command command_net_ls = {
        .name = "net ls",
        .summary = "List the networks",
        .help = "Lists the networks that are running. It starts nothing: where no broker runs, there\n"
                "are no networks.",
        .options = options,
        .n_options = ARRAY_SIZE(options),
        .failure = STATUS_FAILED,
        .run = run_net_ls,
};
