/* berth vm show: all that is known of a VM. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/vm-channel.h"
#include "cli/vm-launch.h"
#include "cli/vm-request.h"
#include "cli/vm-survey.h"
#include "cli/vm-view.h"

#define LABEL_WIDTH 14

static void print_line(const char *label, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void print_line(const char *label, const char *format, ...) {
        char text[512];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        printf("%-*s%s\n", LABEL_WIDTH, label, view_clean(text));
}

static void print_processes(const json_t *facts) {
        char text[VIEW_TEXT_SIZE];

        if (view_integer(facts, "uptime_ms") > 0)
                print_line("uptime", "%s", vm_view_duration(view_integer(facts, "uptime_ms"), text));
        if (view_integer(facts, "pid") > 0)
                print_line("process", "%" PRId64 "%s%s", view_integer(facts, "pid"),
                           view_string(facts, "accelerator")[0] ? ", " : "",
                           view_string(facts, "accelerator"));
        if (view_integer(facts, "vmhost_pid") > 0)
                print_line("vmhost", "%" PRId64, view_integer(facts, "vmhost_pid"));
        if (view_string(facts, "confinement")[0])
                print_line("confined by", "%s", view_string(facts, "confinement"));
        if (view_string(facts, "scope")[0])
                print_line("limited by", "%s", view_string(facts, "scope"));
}

static void print_networks(const json_t *facts) {
        const char *label = "networks", *name = view_string(facts, "name");
        const json_t *entry;
        size_t i;

        json_array_foreach(json_object_get(facts, "networks"), i, entry) {
                const char *ipv6 = view_string(entry, "ipv6_address");

                print_line(label, "%s: %s%s%s, MAC %s, %s.%s", view_string(entry, "network"),
                           view_string(entry, "address"), ipv6[0] ? ", " : "", ipv6,
                           view_string(entry, "mac"), name, view_string(entry, "domain"));
                label = "";
        }
        label = "forwards";
        json_array_foreach(json_object_get(facts, "forwards"), i, entry) {
                print_line(label, "%s %s port %" PRId64 " to the VM's port %" PRId64,
                           view_string(entry, "protocol"), view_string(entry, "listen_address"),
                           view_integer(entry, "listen_port"), view_integer(entry, "port"));
                label = "";
        }
        if (view_integer(facts, "ssh_port") > 0)
                print_line("ssh", "port %" PRId64 ": `berth vm ssh %s`", view_integer(facts, "ssh_port"),
                           name);
}

static void print_lost_shares(const json_t *facts) {
        const json_t *tag;
        size_t i;

        json_array_foreach(json_object_get(facts, "shares_lost"), i, tag)
                print_line("share lost",
                           "%s: its virtiofsd has ended; `berth vm restart %s` gives it another",
                           json_string_value(tag) ? json_string_value(tag) : "", view_string(facts, "name"));
}

static void print_restart(const json_t *facts) {
        const json_t *restart = json_object_get(facts, "restart");

        if (restart && !text_equal(view_string(restart, "policy"), "no"))
                print_line("restart", "%s, done %" PRId64 " times", view_string(restart, "policy"),
                           view_integer(restart, "count"));
}

static void print_end(const json_t *end) {
        char line[VM_VIEW_LINE_SIZE], time[VIEW_TEXT_SIZE];
        const json_t *tail = json_object_get(end, "console_tail"), *entry;
        const char *label = "last lines";
        size_t i;

        if (!json_is_object(end))
                return;
        print_line("last end", "%s: %s", vm_view_time(view_integer(end, "at"), time), vm_view_end(end, line));
        if (view_integer(end, "signal") > 0)
                print_line("", "by %s, signal %" PRId64, view_string(end, "by"), view_integer(end, "signal"));
        else if (view_integer(end, "exit_code") > 0)
                print_line("", "by %s, exit code %" PRId64, view_string(end, "by"),
                           view_integer(end, "exit_code"));
        json_array_foreach(tail, i, entry) {
                print_line(label, "  %s", json_string_value(entry) ? json_string_value(entry) : "");
                label = "";
        }
}

/* What vmhost answers to `show`; or where there is none, what is known without it. A new reference. */
static int find_facts(struct session *session, const struct vm *vm, json_t **ret) {
        json_auto_t *request = json_pack("{s:s}", "method", "show"), *facts = NULL;
        const char *error, *phase;
        int r;

        r = vm_channel_ask(vm->directory, request, VM_REQUEST_TIMEOUT_MS, &facts);
        if (r == -ENOENT || r == -ECONNREFUSED || r == -EPIPE) {
                facts = vm_survey_unhosted(vm->directory, vm->name);
        } else if (r == -ETIMEDOUT || r == -EAGAIN) {
                facts = json_pack("{s:s, s:s, s:s}", "name", vm->name, "state", "silent", "message",
                                  "its vmhost does not answer");
        } else if (r < 0) {
                return vm_request_failed(session, vm, r);
        }
        if (!facts)
                return error_set(&session->error, -ENOMEM, "out of memory");
        /* Without a VM `show` is refused like `status`, and tells all the same. */
        error = view_string(facts, "error");
        phase = view_string(facts, "phase");
        if (error[0] && !view_string(facts, "state")[0])
                json_object_set_new(facts, "state",
                                    json_string(text_equal(phase, "preparing") ? "starting" : "restarting"));
        if (error[0])
                json_object_set_new(facts, "message", json_string(error));
        json_object_del(facts, "error");
        json_object_del(facts, "ok");
        json_object_set_new(facts, "name", json_string(vm->name));
        json_object_set_new(facts, "directory", json_string(vm->directory));
        *ret = steal_ptr(facts);
        return 0;
}

static void print_facts(const json_t *facts) {
        char line[VM_VIEW_LINE_SIZE];

        print_line("VM", "%s", view_string(facts, "name"));
        print_line("state", "%s", vm_view_state(facts, line));
        print_processes(facts);
        print_networks(facts);
        print_lost_shares(facts);
        print_restart(facts);
        print_end(json_object_get(facts, "last_end"));
        print_line("directory", "%s", view_string(facts, "directory"));
}

/* That which runs, or would. */
static int print_configuration(const json_t *facts) {
        const json_t *configuration = json_object_get(facts, "configuration");
        _cleanup_free_ char *text = configuration ? json_dumps(configuration, JSON_INDENT(2)) : NULL;

        if (configuration && !text)
                return -ENOMEM;
        if (text)
                printf("%-*s%s\n", LABEL_WIDTH, "configuration", text);
        if (json_is_true(json_object_get(facts, "configuration_changed")))
                print_line("", "its file has changed since, which counts from the next start on");
        return 0;
}

static int run_vm_show(struct session *session, const struct arguments *arguments) {
        json_auto_t *facts = NULL, *configuration = NULL;
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        struct error problem = ERROR_INIT;
        int r, configured;

        r = vm_find(session, arguments->operands[0], &vm);
        if (r == 0)
                r = find_facts(session, &vm, &facts);
        if (r < 0)
                return r;
        /* A file that is wrong does not hide how the VM is. */
        configured = vm_configured(&vm, &configuration, &problem);
        if (configured < 0)
                json_object_set_new(facts, "configuration_error", json_string(problem.text));
        else if (!json_object_get(facts, "configuration"))
                json_object_set(facts, "configuration", configuration);
        else if (!json_equal(json_object_get(facts, "configuration"), configuration))
                json_object_set_new(facts, "configuration_changed", json_true());
        if (arguments_has(arguments, "json")) {
                r = view_print_json(facts);
        } else {
                print_facts(facts);
                r = print_configuration(facts);
        }
        if (r < 0)
                return error_set(&session->error, r, "out of memory");
        if (text_equal(view_string(facts, "state"), "silent") && !arguments_has(arguments, "json"))
                vm_tell_silent(vm.name, vm.directory, 0);
        if (configured == 0 || arguments_has(arguments, "json"))
                return STATUS_OK;
        return error_set(&session->error, configured, "%s\nuntil that is put right, the VM does not start",
                         problem.text);
}

static const struct option_spec options[] = {
        { "json", NULL, "The same, for programs." },
};

const struct command command_vm_show = {
        .name = "vm show",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Show a VM, its state and its configuration",
        .help = "Shows how a VM is, how it ended last, and its configuration with all that its file does\n"
                "not say filled in.",
        .options = options,
        .n_options = ARRAY_SIZE(options),
        .failure = STATUS_FAILED,
        .run = run_vm_show,
};
