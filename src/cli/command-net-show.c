/* berth net show: all about one network. */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/table.h"
#include "cli/view.h"

static void print_line(const char *label, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void print_line(const char *label, const char *format, ...) {
        char text[256];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        printf("%-12s%s\n", label, view_clean(text));
}

/* "DHCP, DNS, NAT (IPv4)": what is switched on. */
static void print_features(const json_t *network) {
        static const struct {
                const char *key, *text;
        } features[] = {
                { "dhcp", "DHCP" },
                { "router_advertisement", "router advertisements" },
                { "dns", "DNS" },
                { "nat44", "NAT for IPv4" },
                { "nat66", "NAT for IPv6" },
                { "anti_spoofing", "anti-spoofing" },
        };
        char text[128] = "";
        size_t used = 0;

        for (size_t i = 0; i < ARRAY_SIZE(features); i++)
                if (json_is_true(json_object_get(network, features[i].key)))
                        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
                                                 used > 0 ? ", " : "", features[i].text);
        print_line("offers", "%s", used > 0 ? text : "nothing");
}

static void print_services(const json_t *network) {
        const json_t *uplink = json_object_get(network, "uplink");
        const char *key, *message = view_string(uplink, "message");
        json_t *service;

        if (uplink)
                print_line("uplink", "%s, %s%s%s", view_string(uplink, "kind"), view_string(uplink, "state"),
                           message[0] ? ": " : "", message);
        json_object_foreach(json_object_get(network, "services"), key, service)
                print_line(key, "pid %" PRId64 ", restarted %" PRId64 " times", view_integer(service, "pid"),
                           view_integer(service, "restarts"));
}

static void print_facts(const json_t *network) {
        char buffer[VIEW_TEXT_SIZE];
        const char *ipv6_gateway = view_string(network, "ipv6_gateway");

        print_line("network", "%s", view_string(network, "name"));
        print_line("mode", "%s",
                   text_equal(view_string(network, "mode"), "host") ? "host: the host and nothing else"
                                                                    : "shared: NAT to the outside");
        print_line("state", "%s", view_state(network, buffer));
        print_line("process", "%" PRId64, view_integer(network, "pid"));
        print_line("subnet", "%s", view_subnet(network, buffer));
        if (view_ipv6_prefix(network, buffer)[0])
                print_line("IPv6", "%s", buffer);
        print_line("gateway", "%s%s%s", view_string(network, "gateway"), ipv6_gateway[0] ? ", " : "",
                   ipv6_gateway);
        if (view_string(network, "start_address")[0])
                print_line("addresses", "%s to %s", view_string(network, "start_address"),
                           view_string(network, "end_address"));
        print_line("domain", "%s", view_string(network, "domain"));
        print_line("MTU", "%" PRId64, view_integer(network, "mtu"));
        print_features(network);
        print_services(network);
}

/* Whether a list is there. Where it is not, it says why: an answer that does not fit a line lacks what is
 * longest, and that is not to look as if there were none. */
static bool has_list(const json_t *network, const char *key, const char *title) {
        const json_t *left_out = json_object_get(network, "left_out"), *entry;
        const char *what = "not known";
        char message[256];
        size_t i;

        if (json_object_get(network, key))
                return true;
        json_array_foreach(left_out, i, entry)
                if (text_equal(json_string_value(entry), key))
                        what = "left out";
        snprintf(message, sizeof(message), "%s", view_string(network, "message"));
        printf("\n%s are %s%s%s\n", title, what, message[0] ? ": " : "", view_clean(message));
        return false;
}

static int print_clients(const json_t *network) {
        static const char *const headings[] = { ">LEASE", ">PID", "USER", "PROGRAM", "BROKER" };
        _cleanup_(table_freep) struct table *table = table_new(headings, ARRAY_SIZE(headings));
        const json_t *clients = json_object_get(network, "clients"), *client;
        char buffer[VIEW_TEXT_SIZE];
        size_t i;

        if (!has_list(network, "clients", "Clients"))
                return 0;
        if (json_array_size(clients) == 0) {
                puts("\nNo clients.");
                return 0;
        }
        if (!table)
                return -ENOMEM;
        json_array_foreach(clients, i, client) {
                table_add(table, "%" PRId64, view_integer(client, "lease"));
                table_add(table, "%" PRId64, view_integer(client, "pid"));
                table_add(table, "%s", view_user(view_integer(client, "uid"), buffer));
                table_add(table, "%s", view_string(client, "program"));
                table_add(table, "%s",
                          json_is_true(json_object_get(client, "connected")) ? "connected"
                                                                             : "by its handle only");
        }
        puts("");
        return table_print(table, stdout);
}

static int print_interfaces(const json_t *network) {
        static const char *const headings[] = { "PORT",   "NAME",     "MAC",     "ADDRESS",
                                                ">LEASE", ">MTU",     ">QUEUES", ">RECEIVED",
                                                ">SENT",  ">DROPPED", "ISOLATED" };
        _cleanup_(table_freep) struct table *table = table_new(headings, ARRAY_SIZE(headings));
        const json_t *interfaces = json_object_get(network, "interfaces"), *interface;
        char buffer[VIEW_TEXT_SIZE];
        size_t i;

        if (!has_list(network, "interfaces", "Interfaces"))
                return 0;
        if (json_array_size(interfaces) == 0) {
                puts("\nNo interfaces.");
                return 0;
        }
        if (!table)
                return -ENOMEM;
        json_array_foreach(interfaces, i, interface) {
                table_add(table, "%s", view_string(interface, "port"));
                table_add(table, "%s", view_string(interface, "name"));
                table_add(table, "%s", view_string(interface, "mac"));
                table_add(table, "%s", view_string(interface, "address"));
                table_add(table, "%" PRId64, view_integer(interface, "lease"));
                table_add(table, "%" PRId64, view_integer(interface, "mtu"));
                table_add(table, "%" PRId64, view_integer(interface, "queues"));
                table_add(table, "%s", view_bytes(view_integer(interface, "rx_bytes"), buffer));
                table_add(table, "%s", view_bytes(view_integer(interface, "tx_bytes"), buffer));
                table_add(table, "%" PRId64,
                          view_integer(interface, "rx_dropped") + view_integer(interface, "tx_dropped"));
                table_add(table, "%s", json_is_true(json_object_get(interface, "isolated")) ? "yes" : "no");
        }
        puts("");
        return table_print(table, stdout);
}

/* What leads from the host's ports to VMs; nothing where nothing does. */
static int print_forwards(const json_t *network) {
        static const char *const headings[] = { "FORWARD",   "ADDRESS", ">PORT",       "TO",
                                                ">ITS PORT", ">LEASE",  ">CONNECTIONS" };
        _cleanup_(table_freep) struct table *table = table_new(headings, ARRAY_SIZE(headings));
        const json_t *forwards = json_object_get(network, "forwards"), *forward;
        size_t i;

        if (!table)
                return -ENOMEM;
        if (!has_list(network, "forwards", "Forwards") || json_array_size(forwards) == 0)
                return 0;
        json_array_foreach(forwards, i, forward) {
                table_add(table, "%s", view_string(forward, "protocol"));
                table_add(table, "%s", view_string(forward, "listen_address"));
                table_add(table, "%" PRId64, view_integer(forward, "listen_port"));
                table_add(table, "%s", view_string(forward, "name"));
                table_add(table, "%" PRId64, view_integer(forward, "port"));
                table_add(table, "%" PRId64, view_integer(forward, "lease"));
                table_add(table, "%" PRId64, view_integer(forward, "connections"));
        }
        puts("");
        return table_print(table, stdout);
}

static int not_running(struct session *session, const char *name) {
        return error_set(&session->error, -ENOENT,
                         "network %s is not running: it starts when it is first used\n"
                         "`berth net ls --all` shows the networks there are",
                         name);
}

static int run_net_show(struct session *session, const struct arguments *arguments) {
        json_auto_t *list = NULL;
        const char *name = arguments->operands[0];
        const json_t *network;
        int r;

        r = session_connect_running(session);
        if (r > 0)
                r = session_list(session, name, &list);
        if (r == -ENOENT)
                return not_running(session, name);
        if (r < 0)
                return r;
        network = json_array_get(json_object_get(list, "networks"), 0);
        if (!network)
                return not_running(session, name);

        if (arguments_has(arguments, "json")) {
                r = view_print_json(network);
        } else {
                print_facts(network);
                r = print_clients(network);
                if (r == 0)
                        r = print_interfaces(network);
                if (r == 0)
                        r = print_forwards(network);
        }
        return r < 0 ? error_set(&session->error, r, "out of memory") : STATUS_OK;
}

static const struct option_spec options[] = {
        { "json", NULL, "What the broker says of the network, for programs." },
};

const struct command command_net_show = {
        .name = "net show",
        .operands = "NAME",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Show a network, its clients, interfaces and forwards",
        .help = "Shows a running network: its addresses, what it offers, who holds it, its interfaces\n"
                "with their counters, as the VM sees them, and the ports that lead to VMs.",
        .options = options,
        .n_options = ARRAY_SIZE(options),
        .failure = STATUS_FAILED,
        .run = run_net_show,
};
