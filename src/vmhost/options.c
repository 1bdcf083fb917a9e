#include "vmhost/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "base/text.h"
#include "config.h"

static const char usage[] =
        "Usage: vmhost --name NAME --backend qemu [OPTION]...\n"
        "Runs one virtual machine of Berth, and supervises it.\n"
        "\n"
        "  --name NAME        the VM: its files are in DIR/vms/NAME\n"
        "  --backend qemu     what runs it\n"
        "  --config-dir DIR   $XDG_DATA_HOME/berth, for root /var/lib/berth\n"
        "  --check[=FILE]     print the configuration, or one in another FILE, with all\n"
        "                     its defaults, or what is wrong with it, and end\n"
        "  --adopt            take over the VM that runs without a vmhost, and start none\n"
        "  --no-wait          return as soon as the control socket is there, not when\n"
        "                     the VM boots\n"
        "  --foreground       do not detach; log to standard error\n"
        "  --debug            log more\n"
        "  --help, --version\n";

enum {
        NAME = 256,
        BACKEND,
        CONFIG,
        CHECK,
        ADOPT,
        NO_WAIT,
        FOREGROUND,
        DEBUG,
        HELP,
        VERSION,
        FAKE_BEHAVIOUR,
        FAKE_SSH_PORT
};

static int parse_backend(const char *text, struct options *options, struct error *error) {
        options->fake = text_equal(text, "fake");
        if (!options->fake && !text_equal(text, "qemu"))
                return error_set(error, -EINVAL, "--backend takes qemu, not \"%s\"", text);
        return 0;
}

static int parse_fake(int option, const char *text, struct options *options, struct error *error) {
        uint64_t number;

        if (option == FAKE_BEHAVIOUR)
                return fake_behaviour_parse(text, &options->fake_behaviour) < 0
                               ? error_set(error, -EINVAL, "a fake cannot be \"%s\"", text)
                               : 0;
        if (text_parse_u64(text, UINT16_MAX, &number) < 0)
                return error_set(error, -EINVAL, "\"%s\" is no port", text);
        options->fake_ssh_port = (uint16_t)number;
        return 0;
}

static int check(int argc, char **argv, bool backend, const struct options *options, struct error *error) {
        if (optind < argc)
                return error_set(error, -EINVAL, "\"%s\" is no option; see vmhost --help", argv[optind]);
        if (!options->name)
                return error_set(error, -EINVAL, "--name says which VM; see vmhost --help");
        if (!text_is_name(options->name))
                return error_set(error, -EINVAL, "\"%s\" cannot be a VM's name", options->name);
        if (!backend)
                return error_set(error, -EINVAL, "--backend says what runs it; see vmhost --help");
        return OPTIONS_RUN;
}

int options_parse(int argc, char **argv, struct options *ret, struct error *error) {
        static const struct option table[] = {
                { "name", required_argument, NULL, NAME },
                { "backend", required_argument, NULL, BACKEND },
                { "config-dir", required_argument, NULL, CONFIG },
                { "check", optional_argument, NULL, CHECK },
                { "adopt", no_argument, NULL, ADOPT },
                { "no-wait", no_argument, NULL, NO_WAIT },
                { "foreground", no_argument, NULL, FOREGROUND },
                { "debug", no_argument, NULL, DEBUG },
                { "help", no_argument, NULL, HELP },
                { "version", no_argument, NULL, VERSION },
                /* For tests and benchmarks, with --backend fake. */
                { "fake-behaviour", required_argument, NULL, FAKE_BEHAVIOUR },
                { "fake-ssh-port", required_argument, NULL, FAKE_SSH_PORT },
                {},
        };
        struct options options = {};
        bool backend = false;
        int c, r = 0;

        while (r == 0 && (c = getopt_long(argc, argv, "", table, NULL)) >= 0) {
                switch (c) {
                case NAME:
                        options.name = optarg;
                        break;
                case BACKEND:
                        backend = true;
                        r = parse_backend(optarg, &options, error);
                        break;
                case CONFIG:
                        options.config_directory = optarg;
                        break;
                case CHECK:
                        options.check = true;
                        options.check_file = optarg;
                        break;
                case ADOPT:
                        options.adopt = true;
                        break;
                case NO_WAIT:
                        options.no_wait = true;
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
                        puts("vmhost " BERTH_VERSION);
                        return OPTIONS_DONE;
                case FAKE_BEHAVIOUR:
                case FAKE_SSH_PORT:
                        r = parse_fake(c, optarg, &options, error);
                        break;
                default:
                        return error_set(error, -EINVAL, "see vmhost --help");
                }
        }
        if (r == 0)
                r = check(argc, argv, backend, &options, error);
        if (r < 0)
                return r;
        *ret = options;
        return OPTIONS_RUN;
}
