#include "broker/options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "base/text.h"
#include "broker/definition.h"
#include "config.h"

static const char usage[] =
        "Usage: berthd [OPTION]...\n"
        "The broker of Berth: gives virtual machines their networks.\n"
        "\n"
        "  --system               serve the whole system (the default for root, who alone may)\n"
        "  --user                 serve the calling user (the default for others)\n"
        "  --socket PATH          listen there; its directory holds the running networks too\n"
        "  --state DIR            keep there what is remembered\n"
        "  --definitions DIR      read the networks' files there\n"
        "  --idle-timeout SEC     how long a network stays without users (120)\n"
        "  --network-program PATH the program berth-network\n"
        "  --ready-fd N           say there when clients can come\n"
        "  --foreground           log to standard error, in user mode too\n"
        "  --debug                log more\n"
        "  --help, --version\n";

static int parse_number(const char *name, const char *text, uint64_t max, uint64_t *ret,
                        struct error *error) {
        if (text_parse_u64(text, max, ret) < 0)
                return error_set(error, -EINVAL, "--%s takes a number up to %llu, not \"%s\"", name,
                                 (unsigned long long)max, text);
        return 0;
}

static int check_mode(const struct options *options, bool user, struct error *error) {
        if (options->system && user)
                return error_set(error, -EINVAL, "--system and --user exclude each other");
        if (options->system && geteuid() != 0)
                return error_set(error, -EINVAL, "--system needs root");
        if (user && geteuid() == 0)
                return error_set(error, -EINVAL,
                                 "root has no user mode: pasta, which connects a user's networks, gives up "
                                 "root's rights and cannot reach them then; use --system, or run as an "
                                 "ordinary user");
        return 0;
}

enum {
        SYSTEM = 256, /* beyond all characters, which getopt_long(3) returns for short options */
        USER,
        SOCKET,
        STATE,
        DEFINITIONS,
        IDLE,
        NETWORK,
        READY,
        FOREGROUND,
        DEBUG,
        HELP,
        VERSION
};

static const struct option table[] = {
        { "system", no_argument, NULL, SYSTEM },
        { "user", no_argument, NULL, USER },
        { "socket", required_argument, NULL, SOCKET },
        { "state", required_argument, NULL, STATE },
        { "definitions", required_argument, NULL, DEFINITIONS },
        { "idle-timeout", required_argument, NULL, IDLE },
        { "network-program", required_argument, NULL, NETWORK },
        { "ready-fd", required_argument, NULL, READY },
        { "foreground", no_argument, NULL, FOREGROUND },
        { "debug", no_argument, NULL, DEBUG },
        { "help", no_argument, NULL, HELP },
        { "version", no_argument, NULL, VERSION },
        {},
};

int options_parse(int argc, char **argv, struct options *ret, struct error *error) {
        struct options options = { .idle_timeout = OPTIONS_IDLE_TIMEOUT, .ready_fd = -1 };
        bool user = false;
        uint64_t number;
        int c, r = 0;

        while (r == 0 && (c = getopt_long(argc, argv, "", table, NULL)) >= 0) {
                switch (c) {
                case SYSTEM:
                        options.system = true;
                        break;
                case USER:
                        user = true;
                        break;
                case SOCKET:
                        options.socket = optarg;
                        break;
                case STATE:
                        options.state = optarg;
                        break;
                case DEFINITIONS:
                        options.definitions = optarg;
                        break;
                case IDLE:
                        r = parse_number("idle-timeout", optarg, DEFINITION_IDLE_MAX, &number, error);
                        if (r == 0)
                                options.idle_timeout = (unsigned)number;
                        break;
                case NETWORK:
                        options.network_program = optarg;
                        break;
                case READY:
                        r = parse_number("ready-fd", optarg, INT32_MAX, &number, error);
                        if (r == 0 && fcntl((int)number, F_GETFD) < 0)
                                r = error_errno(error, -errno, "--ready-fd %s", optarg);
                        if (r == 0)
                                options.ready_fd = (int)number;
                        break;
                case FOREGROUND:
                        options.foreground = true;
                        break;
                case DEBUG:
                        options.debug = true;
                        break;
                case HELP:
                        fputs(usage, stdout);
                        return OPTIONS_DONE;
                case VERSION:
                        puts("berthd " BERTH_VERSION);
                        return OPTIONS_DONE;
                default:
                        return error_set(error, -EINVAL, "see berthd --help");
                }
        }
        if (r == 0 && optind < argc)
                r = error_set(error, -EINVAL, "\"%s\" is no option; see berthd --help", argv[optind]);
        if (r == 0)
                r = check_mode(&options, user, error);
        if (r < 0)
                return -EINVAL;
        options.system = options.system || (!user && geteuid() == 0);
        *ret = options;
        return OPTIONS_RUN;
}
