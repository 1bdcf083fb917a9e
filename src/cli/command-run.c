/*
 * berth run: gives a command its interfaces and becomes it.
 *
 * The connection to the broker, the handles and the taps are inherited by the command, so the lease lives
 * exactly as long as the command does, with no process of ours beside it. What is filled into its arguments
 * is written with placeholders first, also where Berth adds arguments itself: --dry-run shows that form.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/execute.h"
#include "cli/network-option.h"
#include "cli/placeholder.h"
#include "cli/vmm.h"
#include "cli/words.h"

#define NETWORKS_MAX 16
#define VHOST_PATH "/dev/vhost-net"

/* One --network, from its option to its running interface. */
struct attachment {
        struct network_option option;
        struct berth_network *network;
        struct berth_interface *interface;
        struct placeholder_values values;
        unsigned uses; /* the placeholders that the command names */
};

struct run {
        struct attachment attachments[NETWORKS_MAX];
        size_t n_attachments;
        struct words command;
};

static void run_deinit(struct run *run) {
        for (size_t i = 0; i < run->n_attachments; i++) {
                struct attachment *attachment = &run->attachments[i];

                network_option_deinit(&attachment->option);
                placeholder_values_deinit(&attachment->values);
                berth_interface_free(attachment->interface);
                berth_network_free(attachment->network);
        }
        words_deinit(&run->command);
}

static int add_network(struct session *session, struct run *run, const char *value) {
        int r;

        if (run->n_attachments == NETWORKS_MAX)
                return session_misused(session, "--network is given more than %d times", NETWORKS_MAX);
        r = network_option_parse(&run->attachments[run->n_attachments].option, value, &session->error);
        if (r < 0) {
                session->misused = r == -EINVAL;
                return r;
        }
        run->n_attachments++;
        return 0;
}

static int read_arguments(struct session *session, struct run *run, const struct arguments *arguments) {
        int r;

        for (size_t i = 0; i < arguments->n_options; i++) {
                if (!text_equal(arguments->options[i].spec->name, "network"))
                        continue;
                r = add_network(session, run, arguments->options[i].value);
                if (r < 0)
                        return r;
        }
        if (run->n_attachments == 0) {
                r = add_network(session, run, "shared");
                if (r < 0)
                        return r;
        }
        r = words_insert(&run->command, 0, (const char *const *)arguments->command, arguments->n_command);
        return r < 0 ? error_set(&session->error, r, "out of memory") : 0;
}

/* Notes which placeholders the command names; *ret_any: whether it names one at all. */
static int scan_command(struct session *session, struct run *run, bool *ret_any) {
        unsigned uses[NETWORKS_MAX] = { 0 };
        int r;

        *ret_any = false;
        for (size_t i = 0; i < run->command.n_words; i++) {
                r = placeholder_scan(run->command.words[i], run->n_attachments, uses, &session->error);
                if (r < 0) {
                        session->misused = true;
                        return r;
                }
        }
        for (size_t i = 0; i < run->n_attachments; i++) {
                run->attachments[i].uses = uses[i];
                *ret_any = *ret_any || uses[i];
        }
        return 0;
}

/* Adds what a known VMM needs. *ret_unaware: the command names no placeholder and is no VMM that is known. */
static int complete_command(struct session *session, struct run *run, bool *ret_unaware) {
        const struct vmm *vmm = vmm_find(run->command.words[0]);
        unsigned queues[NETWORKS_MAX];
        bool any;
        int r;

        r = scan_command(session, run, &any);
        *ret_unaware = !any && !vmm;
        if (r < 0 || any || !vmm)
                return r;
        for (size_t i = 0; i < run->n_attachments; i++) {
                queues[i] = run->attachments[i].option.interface.queues;
                queues[i] = queues[i] > 0 ? queues[i] : 1;
        }
        r = vmm_extend(vmm, &run->command, queues, run->n_attachments, access(VHOST_PATH, R_OK | W_OK) == 0,
                       &session->error);
        if (r < 0)
                return r;
        return scan_command(session, run, &any);
}

static int attach(struct session *session, struct attachment *attachment) {
        const char *name = attachment->option.network;
        int r;

        r = berth_acquire(session->berth, name, &attachment->network);
        if (r < 0)
                return session_broker_error(session, r, "cannot acquire network %s", name);
        r = berth_network_start(attachment->network, &attachment->option.interface, &attachment->interface);
        if (r < 0)
                return session_network_error(session, attachment->network, r,
                                             "cannot start an interface on network %s", name);
        return 0;
}

/* Opens a vhost device per queue, to be inherited; *ret is "7:8", or the first alone. */
static int open_vhost(size_t queues, bool first_only, char **ret, struct error *error) {
        _cleanup_free_ char *text = NULL;

        for (size_t i = 0; i < (first_only ? 1 : queues); i++) {
                int fd = open(VHOST_PATH, O_RDWR); /* without CLOEXEC: the command's from now on */
                char *longer;

                if (fd < 0)
                        return error_errno(error, -errno,
                                           "cannot open " VHOST_PATH " (modprobe vhost_net loads it)");
                longer = text_format("%s%s%d", text ? text : "", text ? ":" : "", fd);
                free(text);
                text = longer;
                if (!text)
                        return error_set(error, -ENOMEM, "out of memory");
        }
        *ret = steal_ptr(text);
        return 0;
}

/* The file descriptors of all queues, separated by `separator`: a new string or NULL. */
static char *join_fds(const struct berth_interface *interface, unsigned queues, char separator) {
        _cleanup_free_ char *text = NULL;

        for (unsigned i = 0; i < queues; i++) {
                char *longer = i == 0 ? text_format("%d", berth_interface_get_fd(interface, i))
                                      : text_format("%s%c%d", text, separator,
                                                    berth_interface_get_fd(interface, i));

                free(text);
                text = longer;
                if (!text)
                        return NULL;
        }
        return steal_ptr(text);
}

static char *copy(const char *s) {
        return strdup(s ? s : "");
}

static int fill_values(struct attachment *attachment, struct error *error) {
        const struct berth_interface_facts *facts = berth_interface_get_facts(attachment->interface);
        const struct berth_network_facts *network = berth_network_get_facts(attachment->network);
        char **values = attachment->values.values;
        int r = 0;

        values[PLACEHOLDER_FD] = text_format("%d", berth_interface_get_fd(attachment->interface, 0));
        values[PLACEHOLDER_FDS] = join_fds(attachment->interface, facts->queues, ':');
        values[PLACEHOLDER_FD_LIST] = join_fds(attachment->interface, facts->queues, ',');
        values[PLACEHOLDER_MAC] = copy(facts->mac);
        values[PLACEHOLDER_MTU] = text_format("%u", (unsigned)facts->mtu);
        values[PLACEHOLDER_ADDRESS] = copy(facts->address);
        values[PLACEHOLDER_IPV6_ADDRESS] = copy(facts->ipv6_address);
        values[PLACEHOLDER_NAME] = copy(facts->name);
        values[PLACEHOLDER_PORT] = copy(facts->port);
        values[PLACEHOLDER_NETWORK] = copy(network->name);
        values[PLACEHOLDER_GATEWAY] = copy(network->gateway);
        values[PLACEHOLDER_QUEUES] = text_format("%u", (unsigned)facts->queues);
        values[PLACEHOLDER_VNET_HEADER_SIZE] = text_format("%u", (unsigned)facts->vnet_header_size);
        for (size_t i = 0; i < PLACEHOLDER_VHOST_FD; i++)
                if (!values[i])
                        return error_set(error, -ENOMEM, "out of memory");

        if (attachment->uses & (1U << PLACEHOLDER_VHOST_FD))
                r = open_vhost(facts->queues, true, &values[PLACEHOLDER_VHOST_FD], error);
        if (r == 0 && attachment->uses & (1U << PLACEHOLDER_VHOST_FDS))
                r = open_vhost(facts->queues, false, &values[PLACEHOLDER_VHOST_FDS], error);
        return r;
}

/* BERTH_NET0_FD and the others of attachment number i. */
static int export_values(const struct attachment *attachment, size_t i, struct error *error) {
        for (enum placeholder p = 0; p < PLACEHOLDER_MAX; p++) {
                _cleanup_free_ char *name = NULL;

                if (!placeholder_in_environment(p))
                        continue;
                name = text_format("BERTH_NET%zu_%s", i, placeholder_name(p));
                for (char *c = name; c && *c; c++)
                        if (*c >= 'a' && *c <= 'z')
                                *c = (char)(*c - 'a' + 'A');
                if (!name || setenv(name, attachment->values.values[p], 1) < 0)
                        return error_set(error, -ENOMEM, "out of memory");
        }
        return 0;
}

static int fill_command(struct session *session, struct run *run) {
        struct placeholder_values values[NETWORKS_MAX];

        for (size_t i = 0; i < run->n_attachments; i++)
                values[i] = run->attachments[i].values; /* lent */
        for (size_t i = 0; i < run->command.n_words; i++) {
                char *filled = placeholder_fill(run->command.words[i], values, run->n_attachments);

                if (!filled)
                        return error_set(&session->error, -ENOMEM, "out of memory");
                free(run->command.words[i]);
                run->command.words[i] = filled;
        }
        return 0;
}

/* The last thing before exec: until here a failure leaves nothing behind in a child of ours. */
static int make_inheritable(struct session *session, struct run *run) {
        int r;

        r = berth_set_inheritable(session->berth, true);
        for (size_t i = 0; r == 0 && i < run->n_attachments; i++) {
                r = berth_network_set_inheritable(run->attachments[i].network, true);
                if (r == 0)
                        r = berth_interface_set_inheritable(run->attachments[i].interface, true);
        }
        return r < 0 ? error_errno(&session->error, r, "cannot hand over the interfaces") : 0;
}

static int run_run(struct session *session, const struct arguments *arguments) {
        _cleanup_(run_deinit) struct run run = { 0 };
        _cleanup_free_ char *program = NULL;
        bool unaware;
        int r;

        r = read_arguments(session, &run, arguments);
        if (r < 0)
                return r;
        r = complete_command(session, &run, &unaware);
        if (r < 0)
                return r;
        if (arguments_has(arguments, "dry-run")) {
                words_print(&run.command, stdout);
                return STATUS_OK;
        }
        /* Before a network is made for a command that was mistyped. */
        r = execute_find(run.command.words[0], &program, &session->error);
        if (r != STATUS_OK)
                return execute_complain(r, &session->error);
        if (unaware)
                fprintf(stderr,
                        "berth: %s gets its interfaces by environment only (BERTH_NET0_FD and others); "
                        "placeholders such as {net0.fd} and {net0.mac} put them in its arguments\n",
                        run.command.words[0]);
        r = session_connect(session);
        if (r < 0)
                return r;
        for (size_t i = 0; i < run.n_attachments; i++) {
                r = attach(session, &run.attachments[i]);
                if (r == 0)
                        r = fill_values(&run.attachments[i], &session->error);
                if (r == 0)
                        r = export_values(&run.attachments[i], i, &session->error);
                if (r < 0)
                        return r;
        }
        r = fill_command(session, &run);
        if (r == 0)
                r = make_inheritable(session, &run);
        if (r < 0)
                return r;
        return execute_complain(execute(program, run.command.words, &session->error), &session->error);
}

static const struct option_spec options[] = {
        { "network", "NETWORK",
          "Attach to this network; may be given again. Behind the name,\n"
          "separated by commas:\n"
          "  name=NAME        NAME.berth.internal, and the same\n"
          "                   MAC and address each time\n"
          "  id=UUID          what outlives a change of name\n"
          "  mac=MAC          a MAC address of your choice\n"
          "  address=ADDRESS  a fixed IPv4 address\n"
          "  mtu=N            smaller than the network's\n"
          "  queues=N         1 to 8, for several processors\n"
          "  isolated         reach the gateway, but no VM" },
        { "dry-run", NULL, "Print the command as it would be run, and do nothing." },
};

const struct command command_run = {
        .name = "run",
        .trailing = TRAILING_COMMAND,
        .summary = "Run a VMM, or any command, with interfaces on networks",
        .help = "Acquires each network, starts an interface on it, and becomes the command. Without\n"
                "--network it is attached to `shared`.\n"
                "\n"
                "QEMU (qemu-system-*), cloud-hypervisor and crosvm get the arguments they need. Any\n"
                "other command, and those when they name a placeholder, are run with placeholders\n"
                "filled in: {net0.fd}, {net0.mac}, and also .fds (5:6), .fd_list (5,6), .mtu,\n"
                ".address, .ipv6_address, .name, .port, .network, .gateway, .queues,\n"
                ".vnet_header_size, .vhost_fd and .vhost_fds; net1 is the second --network. They\n"
                "stand in the environment too, as BERTH_NET0_FD, BERTH_NET0_MAC and so on.\n"
                "\n"
                "  berth run --network shared,name=web -- qemu-system-x86_64 -m 1G web.qcow2\n"
                "  berth run -- my-vmm --tap-fd={net0.fd} --mac={net0.mac}",
        .options = options,
        .n_options = ARRAY_SIZE(options),
        .failure = STATUS_NOT_RUN,
        .run = run_run,
};
