/* The uplink of user mode: pasta, from the host's namespace into the network's. */

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "network/leftover.h"
#include "network/service.h"
#include "network/uplink.h"

/*
 * pasta forwards only for the one address it gives, so the network masquerades; and it takes a connection to the
 * gateway that it gives for one to the host's loopback, which is how the network's own gateway address leads to the host.
 * The release in Debian 12 does not run on a host without a default route, and serves the families that have one
 * when it starts.
 */
#define PASTA_MTU "65520"
#define PASTA_NETWORK6 "fd00:6265:7274:68::2"
#define PASTA_HOST6 "fd00:6265:7274:68::1"

struct pasta {
        struct uplink_context context;
        struct service *service;
        char *program, *note_path;
        bool route4, route6; /* the host's default routes, when pasta was started */
        char message[320];
};

/* What pasta cannot help but print is no news. */
static bool on_line(void *data, const char *line) {
        return !strstr(line, "syslog");
}

static void on_changed(void *data, enum service_state state) {
        struct pasta *pasta = data;

        pasta->context.changed(pasta->context.data);
}

static int spawn(void *data, int log_fd, pid_t *ret_pid, struct error *error) {
        struct pasta *pasta = data;
        const int fds[] = { pasta->context.user_namespace, pasta->context.namespace };
        /* File descriptors 3 and 4 are the namespaces. No port of the host's is forwarded, in either direction. */
        const char *const argv[] = {
                pasta->program, "--foreground", "--quiet", "--stderr", "--config-net", "--ns-ifname", RULESET_UPLINK,
                "--address", "169.254.64.2", "--netmask", "30", "--gateway", "169.254.64.1",
                "--address", PASTA_NETWORK6, "--gateway", PASTA_HOST6, "--mtu", PASTA_MTU,
                "--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none",
                "--userns", "/proc/self/fd/3", "--netns", "/proc/self/fd/4", NULL,
        };

        int pidfd = outpost_spawn(pasta->context.outpost, pasta->note_path, argv, log_fd, fds, ARRAY_SIZE(fds),
                                  ret_pid);
        return pidfd < 0 ? error_errno(error, pidfd, "starting %s", pasta->program) : pidfd;
}

static const struct service_ops service_ops = {
        .name = "pasta",
        .spawn = spawn,
        .line = on_line,
        .changed = on_changed,
};

static void pasta_free(void *uplink) {
        struct pasta *pasta = uplink;

        service_free(pasta->service);
        free(pasta->program);
        free(pasta->note_path);
        free(pasta);
}

static int pasta_new(void **ret, const struct uplink_context *context, struct error *error) {
        struct pasta *pasta = calloc(1, sizeof(*pasta));
        if (!pasta)
                return -ENOMEM;

        pasta->context = *context;
        pasta->program = process_find_program("pasta", NULL);
        pasta->note_path = text_format("%s/pasta.pid", context->configuration->state_directory);
        int r;
        if (!pasta->program)
                r = error_set(error, -ENOENT, "pasta is not installed (the package is passt)");
        else if (!pasta->note_path)
                r = -ENOMEM;
        else
                r = service_new(&pasta->service, context->loop, &service_ops, pasta);
        if (r < 0) {
                pasta_free(pasta);
                return r;
        }
        *ret = pasta;
        return 0;
}

/* Runs pasta when the host has a way out, and again when it has gained one of the other family. */
static void look_at_host(struct pasta *pasta) {
        bool route4 = links_has_default_route(pasta->context.host_links, AF_INET);
        bool route6 = links_has_default_route(pasta->context.host_links, AF_INET6);

        if (service_state(pasta->service) == SERVICE_STOPPED) {
                if (!route4 && !route6) {
                        snprintf(pasta->message, sizeof(pasta->message),
                                 "the host has no default route: the host and the outside are out of reach until it "
                                 "has one");
                        return;
                }
                pasta->message[0] = 0;
                pasta->route4 = route4;
                pasta->route6 = route6;
                service_start(pasta->service);
        } else if ((route4 && !pasta->route4) || (route6 && !pasta->route6)) {
                /* Connections through the uplink break once; those between VMs do not notice. */
                log_info("the host has gained a default route: pasta is started anew");
                pasta->route4 |= route4;
                pasta->route6 |= route6;
                service_restart(pasta->service);
        }
}

struct find_uplink {
        bool running;
};

static void find_running(const struct link *link, void *data) {
        struct find_uplink *found = data;

        if (strcmp(link->name, RULESET_UPLINK) == 0)
                found->running = link->up;
}

/* pasta configures the device as its last step before it serves: addresses first, then up, then routes. */
static void pasta_look(void *uplink) {
        struct pasta *pasta = uplink;
        struct find_uplink found = {};

        look_at_host(pasta);
        if (service_state(pasta->service) == SERVICE_STARTING &&
            links_dump(pasta->context.links, find_running, &found, NULL) >= 0 && found.running &&
            (links_has_default_route(pasta->context.links, AF_INET) || !pasta->route4))
                service_up(pasta->service);
}

static int pasta_start(void *uplink, struct error *error) {
        struct pasta *pasta = uplink;

        leftover_end(pasta->note_path, "pas");
        /* A device left by a pasta that was killed goes with its file descriptor; one that lingers is in the way. */
        int r = links_delete(pasta->context.links, RULESET_UPLINK, error);
        if (r >= 0)
                look_at_host(pasta);
        return r;
}

static void pasta_stop(void *uplink) {
        struct pasta *pasta = uplink;

        service_stop(pasta->service);
}

static struct ruleset_uplink pasta_rules(const void *uplink) {
        const struct pasta *pasta = uplink;
        struct ruleset_uplink rules = { .masquerade = true };

        if (pasta->route4)
                rules.host4 = UPLINK_HOST4;
        if (pasta->route6)
                ipv6_parse(PASTA_HOST6, &rules.host6);
        return rules;
}

static bool pasta_is_up(const void *uplink) {
        const struct pasta *pasta = uplink;

        return service_state(pasta->service) == SERVICE_UP;
}

static const char *pasta_message(const void *uplink) {
        const struct pasta *pasta = uplink;

        return *pasta->message ? pasta->message : service_message(pasta->service);
}

static json_t *pasta_describe(const void *uplink) {
        const struct pasta *pasta = uplink;

        return service_describe(pasta->service);
}

const struct uplink_ops uplink_pasta = {
        .kind = "pasta",
        .new = pasta_new,
        .free = pasta_free,
        .start = pasta_start,
        .stop = pasta_stop,
        .look = pasta_look,
        .rules = pasta_rules,
        .is_up = pasta_is_up,
        .message = pasta_message,
        .describe = pasta_describe,
};
