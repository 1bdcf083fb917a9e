/* berth vm ls: the VMs there are, and how each is. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/table.h"
#include "cli/vm-directory.h"
#include "cli/vm-request.h"
#include "cli/vm-survey.h"
#include "cli/vm-view.h"

static void add_vm(struct table *table, const json_t *vm) {
        char line[VM_VIEW_LINE_SIZE], text[VIEW_TEXT_SIZE];
        const json_t *end = json_object_get(vm, "last_end");
        int64_t uptime = view_integer(vm, "uptime_ms"), port = view_integer(vm, "ssh_port");

        table_add(table, "%s", view_string(vm, "name"));
        table_add(table, "%s", vm_view_state(vm, line));
        table_add(table, "%s", uptime > 0 ? vm_view_duration(uptime, text) : "");
        table_add(table, "%s", vm_view_addresses(vm, line));
        if (port > 0)
                table_add(table, "%" PRId64, port);
        else
                table_add(table, "%s", "");
        table_add(table, "%s", end ? vm_view_end(end, line) : "");
}

static int print_table(const json_t *list) {
        static const char *const headings[] = {
                "VM", "STATE", ">UPTIME", "ADDRESSES", ">SSH PORT", "LAST END"
        };
        _cleanup_(table_freep) struct table *table = table_new(headings, ARRAY_SIZE(headings));
        const json_t *vm;
        size_t i;

        if (json_array_size(list) == 0) {
                puts("There are no VMs. `berth vm create` makes one.");
                return 0;
        }
        if (!table)
                return -ENOMEM;
        json_array_foreach(list, i, vm)
                add_vm(table, vm);
        return table_print(table, stdout);
}

/* What somebody should do something about, below the table. */
static int print_advice(const json_t *list, const char *config) {
        const json_t *vm;
        size_t i;

        fflush(stdout);
        json_array_foreach(list, i, vm) {
                const char *name = view_string(vm, "name"), *state = view_string(vm, "state");

                if (text_equal(state, "silent")) {
                        _cleanup_free_ char *directory = text_format("%s/vms/%s", config, name);

                        if (!directory)
                                return -ENOMEM;
                        vm_tell_silent(name, directory, 0);
                } else if (text_equal(state, "orphaned"))
                        fprintf(stderr,
                                "berth: %s runs and its vmhost was killed; `berth vm start %s` gives it a "
                                "new "
                                "one\n",
                                name, name);
        }
        return 0;
}

static int run_vm_ls(struct session *session, const struct arguments *arguments) {
        _cleanup_(vm_names_freep) char **names = NULL;
        _cleanup_free_ char *config = NULL;
        json_auto_t *list = NULL;
        size_t n;
        int r;

        r = vm_config_directory(session, &config);
        if (r == 0)
                r = vm_names(config, &names, &n, &session->error);
        if (r < 0)
                return r;
        if (arguments_has(arguments, "names")) {
                for (size_t i = 0; i < n; i++)
                        puts(names[i]);
                return STATUS_OK;
        }
        r = vm_survey(config, names, n, &list);
        if (r == 0)
                r = arguments_has(arguments, "json") ? view_print_json(list) : print_table(list);
        if (r == 0 && !arguments_has(arguments, "json"))
                r = print_advice(list, config);
        return r < 0 ? error_set(&session->error, r, "out of memory") : STATUS_OK;
}

static const struct option_spec options[] = {
        { "json", NULL, "An array, for programs." },
        { "names", NULL, "Only the names, one per line; asks no VM." },
};

const struct command command_vm_ls = {
        .name = "vm ls",
        .summary = "List the VMs",
        .help = "Lists all VMs, running or not. All are asked at once, and what one of them does cannot\n"
                "keep the list: a vmhost that does not answer in time is shown as silent.",
        .options = options,
        .n_options = ARRAY_SIZE(options),
        .failure = STATUS_FAILED,
        .run = run_vm_ls,
};
