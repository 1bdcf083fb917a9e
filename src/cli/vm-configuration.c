/* VM configurations: what the options of `berth vm create` come to. */
#include "cli/vm-configuration.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/vm-directory.h"
#include "cli/vm-value.h"

#define CPUS_MAX 255
#define STOP_TIMEOUT_MAX 86400
#define NETWORKS_MAX 8
#define COMMAND_LINE_MAX 2047 /* bytes: Linux on x86 cuts off what is longer, without a word */
#define USER_DATA_MAX (64 * 1024)

/* While the options are read. */
struct reader {
        struct vm_configuration *configuration;
        const char *image, *image_format; /* borrowed */
        bool no_network;
};

static int out_of_memory(struct error *error) {
        return error_set(error, -ENOMEM, "out of memory");
}

static int set(struct reader *reader, const char *key, json_t *consume_value, struct error *error) {
        return json_object_set_new(reader->configuration->file, key, consume_value) < 0 ? out_of_memory(error)
                                                                                        : 0;
}

static int set_text(struct reader *reader, const char *key, const char *value, struct error *error) {
        json_t *text = json_string(value);

        return text ? set(reader, key, text, error)
                    : error_set(error, -EINVAL, "%s: not UTF-8, as all in a VM's configuration must be",
                                value);
}

static int set_path(struct reader *reader, const char *key, const char *path, struct error *error) {
        json_t *text = json_string(path);

        return text ? set(reader, key, text, error)
                    : error_set(error, -EINVAL,
                                "the path %s is not UTF-8, as all in a VM's configuration must be\n"
                                "rename what has that name, or copy the file elsewhere",
                                path);
}

/* Adds to an array, which is made by its first element. */
static int append(struct reader *reader, const char *key, json_t *consume_value, struct error *error) {
        json_t *array = json_object_get(reader->configuration->file, key);

        if (!array) {
                array = json_array();
                if (json_object_set_new(reader->configuration->file, key, array) < 0)
                        array = NULL;
        }
        if (!array) {
                json_decref(consume_value);
                return out_of_memory(error);
        }
        return json_array_append_new(array, consume_value) < 0 ? out_of_memory(error) : 0;
}

static int set_number(struct reader *reader, const char *key, const char *value, uint64_t min, uint64_t max,
                      struct error *error) {
        uint64_t number;

        if (text_parse_u64(value, max, &number) < 0 || number < min)
                return error_set(error, -EINVAL, "%s: not a number from %d to %d", value, (int)min, (int)max);
        return set(reader, key, json_integer((json_int_t)number), error);
}

/* One of the words, which are separated by blanks. */
static int set_word(struct reader *reader, const char *key, const char *value, const char *words,
                    struct error *error) {
        size_t length = strlen(value);

        for (const char *word = words; *word; word += strcspn(word, " "), word += *word == ' ')
                if (length == strcspn(word, " ") && strncmp(word, value, length) == 0)
                        return set_text(reader, key, value, error);
        return error_set(error, -EINVAL, "%s: not one of %s", value, words);
}

static int set_file(struct reader *reader, const char *key, const char *value, struct error *error) {
        _cleanup_free_ char *path = NULL;
        int r = vm_value_file(value, &path, error);

        return r < 0 ? r : set_path(reader, key, path, error);
}

static int read_image(struct reader *reader, const char *value, struct error *error) {
        reader->image = value;
        return 0;
}

static int read_image_format(struct reader *reader, const char *value, struct error *error) {
        reader->image_format = value;
        if (text_equal(value, "raw") || text_equal(value, "qcow2"))
                return 0;
        return error_set(error, -EINVAL, "%s: not one of raw qcow2", value);
}

static int read_disk_size(struct reader *reader, const char *value, struct error *error) {
        return vm_value_disk_size(value, &reader->configuration->disk_size_gib, error);
}

static int read_memory(struct reader *reader, const char *value, struct error *error) {
        uint64_t mib;
        int r = vm_value_memory(value, &mib, error);

        return r < 0 ? r : set(reader, "memory_mib", json_integer((json_int_t)mib), error);
}

static int read_cpus(struct reader *reader, const char *value, struct error *error) {
        return set_number(reader, "cpus", value, 1, CPUS_MAX, error);
}

static int read_network(struct reader *reader, const char *value, struct error *error) {
        const json_t *networks = json_object_get(reader->configuration->file, "networks"), *other;
        json_t *network;
        size_t i;
        int r = vm_value_network(value, &network, error);

        if (r < 0)
                return r;
        if (json_array_size(networks) == NETWORKS_MAX)
                r = error_set(error, -EINVAL, "given more than %d times", NETWORKS_MAX);
        /* A VM has one name, and a network has a name once. */
        json_array_foreach(networks, i, other)
                if (json_equal(json_object_get(other, "network"), json_object_get(network, "network")))
                        r = error_set(error, -EINVAL, "%s: that network is given twice", value);
        if (r < 0) {
                json_decref(network);
                return r;
        }
        return append(reader, "networks", network, error);
}

static int read_no_network(struct reader *reader, const char *value, struct error *error) {
        reader->no_network = true;
        return 0;
}

static int read_ssh_key(struct reader *reader, const char *value, struct error *error) {
        json_t *file = reader->configuration->file, *keys = json_object_get(file, "ssh_keys");

        if (!keys) {
                if (json_object_set_new(file, "ssh_keys", json_array()) < 0)
                        return out_of_memory(error);
                keys = json_object_get(file, "ssh_keys");
        }
        return vm_value_ssh_key(value, keys, &reader->configuration->identities, error);
}

/* As useradd(8) takes it by default. */
static bool is_user(const char *text) {
        size_t n = strlen(text);

        return n >= 1 && n <= 32 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n &&
               !strchr("0123456789-", text[0]);
}

static int read_ssh_user(struct reader *reader, const char *value, struct error *error) {
        if (!is_user(value))
                return error_set(error, -EINVAL,
                                 "\"%s\" is no name of a user: lower case letters, digits, '_' and '-'",
                                 value);
        return set_text(reader, "ssh_user", value, error);
}

static int read_ssh_port(struct reader *reader, const char *value, struct error *error) {
        return set_number(reader, "ssh_port", value, 1, 65535, error);
}

static int read_no_ssh(struct reader *reader, const char *value, struct error *error) {
        return set(reader, "ssh", json_false(), error);
}

static int read_hostname(struct reader *reader, const char *value, struct error *error) {
        if (!text_is_label(value))
                return error_set(error, -EINVAL, "\"%s\" is no host name", value);
        return set_text(reader, "hostname", value, error);
}

static int read_user_data(struct reader *reader, const char *value, struct error *error) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r = file_read(value, USER_DATA_MAX, &text, &size, error);

        if (r < 0)
                return r;
        /* A text without these would be read as the path of a file. */
        if (text[0] != '#' && !strchr(text, '\n'))
                return error_set(error, -EINVAL,
                                 "%s: cloud-init knows it by a first line such as #cloud-config", value);
        /* The text itself: a VM that is complete needs no file elsewhere. */
        return set_text(reader, "user_data", text, error);
}

static int read_kernel(struct reader *reader, const char *value, struct error *error) {
        return set_file(reader, "kernel", value, error);
}

static int read_initrd(struct reader *reader, const char *value, struct error *error) {
        return set_file(reader, "initrd", value, error);
}

static int read_command_line(struct reader *reader, const char *value, struct error *error) {
        if (strlen(value) > COMMAND_LINE_MAX)
                return error_set(error, -EINVAL, "longer than %d bytes, which is all that a kernel takes",
                                 COMMAND_LINE_MAX);
        return set_text(reader, "command_line", value, error);
}

static int read_machine(struct reader *reader, const char *value, struct error *error) {
        return set_word(reader, "machine", value, "q35 microvm", error);
}

static int read_firmware(struct reader *reader, const char *value, struct error *error) {
        return set_file(reader, "firmware", value, error);
}

static int read_accelerator(struct reader *reader, const char *value, struct error *error) {
        return set_word(reader, "accelerator", value, "auto kvm tcg", error);
}

static int read_forward(struct reader *reader, const char *value, struct error *error) {
        const json_t *forwards = json_object_get(reader->configuration->file, "forwards"), *other;
        _cleanup_free_ char *forward = NULL;
        size_t i, host;
        int r;

        r = vm_value_forward(value, &forward, error);
        if (r < 0)
                return r;
        /* Protocol, address and port: all before the last ':'. */
        host = (size_t)(strrchr(forward, ':') - forward) + 1;
        json_array_foreach(forwards, i, other)
                if (strncmp(json_string_value(other), forward, host) == 0)
                        return error_set(error, -EINVAL, "%s: that port of the host is given twice", value);
        return append(reader, "forwards", json_string(forward), error);
}

static int read_share(struct reader *reader, const char *value, struct error *error) {
        const json_t *shares = json_object_get(reader->configuration->file, "shares"), *other;
        json_t *share;
        size_t i;
        int r;

        r = vm_value_share(value, &share, error);
        if (r < 0)
                return r;
        json_array_foreach(shares, i, other)
                if (json_equal(json_object_get(other, "tag"), json_object_get(share, "tag"))) {
                        json_decref(share);
                        return error_set(error, -EINVAL, "%s: another share has that tag; add ,tag=TAG",
                                         value);
                }
        return append(reader, "shares", share, error);
}

static int read_restart(struct reader *reader, const char *value, struct error *error) {
        return set_word(reader, "restart", value, "no on-failure always", error);
}

static int read_stop_timeout(struct reader *reader, const char *value, struct error *error) {
        return set_number(reader, "stop_timeout_seconds", value, 1, STOP_TIMEOUT_MAX, error);
}

static int read_no_confine(struct reader *reader, const char *value, struct error *error) {
        return set(reader, "confine", json_false(), error);
}

static int read_memory_limit(struct reader *reader, const char *value, struct error *error) {
        uint64_t mib;
        int r = vm_value_memory(value, &mib, error);

        return r < 0 ? r : set(reader, "memory_limit_mib", json_integer((json_int_t)mib), error);
}

static int read_cpu_limit(struct reader *reader, const char *value, struct error *error) {
        return set_number(reader, "cpu_limit_percent", value, 1, CPUS_MAX * 100, error);
}

const struct option_spec vm_configuration_options[] = {
        { "image", "FILE",
          "The disk to start from. It is only read; the VM's own disk\n"
          "is a layer over it." },
        { "image-format", "FORMAT", "raw or qcow2, where the image does not tell for sure." },
        { "disk-size", "SIZE",
          "The disk's size, such as 20G; without an image, of an empty\n"
          "one." },
        { "memory", "SIZE", "Such as 512M or 2G; 1G without it." },
        { "cpus", "N", "Processors; 1 without it." },
        { "network", "NETWORK",
          "Attach to this network, may be given again; `shared` without\n"
          "it. Behind the name, separated by commas: id=, mac=,\n"
          "address=, queues=, isolated as for `berth run`." },
        { "no-network", NULL, "Attach to none." },
        { "ssh-key", "FILE",
          "A public key to let in, or a file of them; may be given\n"
          "again." },
        { "ssh-user", "NAME", "Whom the keys let in; yourself without it." },
        { "ssh-port", "PORT",
          "The host's port that leads to the VM's ssh; a free one\n"
          "without it." },
        { "no-ssh", NULL, "No port for ssh." },
        { "hostname", "NAME", "The VM's name is it without this." },
        { "user-data", "FILE", "For cloud-init: a #cloud-config or a script." },
        { "kernel", "FILE", "Boot this kernel directly." },
        { "initrd", "FILE", "With --kernel." },
        { "command-line", "WORDS", "With --kernel." },
        { "machine", "TYPE", "q35 or microvm." },
        { "firmware", "FILE", "In place of the one that is chosen." },
        { "accelerator", "NAME", "kvm, tcg or auto." },
        { "forward", "PORTS",
          "[udp:][ADDRESS:]PORT:GUEST-PORT: a port of the host leads to\n"
          "one of the VM; may be given again. 127.0.0.1 without an\n"
          "address." },
        { "share", "FOLDER",
          "Show a folder to the VM, as FOLDER[,tag=TAG][,read-only]\n"
          "[,type=virtiofs]; may be given again." },
        { "restart", "POLICY", "no, on-failure or always." },
        { "stop-timeout", "SECONDS", "How long a stop may take; 30 without it." },
        { "no-confine", NULL, "Let QEMU do what its user may do." },
        { "memory-limit", "SIZE",
          "What QEMU may use in all, such as 3G: the VM's memory and\n"
          "QEMU's own. Beyond it the kernel ends it. Takes systemd." },
        { "cpu-limit", "PERCENT", "Of one processor: 150 is one and a half. Takes systemd." },
};

/* In the order of the options above. */
static int (*const readers[])(struct reader *reader, const char *value, struct error *error) = {
        read_image,        read_image_format, read_disk_size,    read_memory,      read_cpus,
        read_network,      read_no_network,   read_ssh_key,      read_ssh_user,    read_ssh_port,
        read_no_ssh,       read_hostname,     read_user_data,    read_kernel,      read_initrd,
        read_command_line, read_machine,      read_firmware,     read_accelerator, read_forward,
        read_share,        read_restart,      read_stop_timeout, read_no_confine,  read_memory_limit,
        read_cpu_limit,
};
_Static_assert(ARRAY_SIZE(readers) == VM_CONFIGURATION_N_OPTIONS, "one for each option");

static int read_options(struct reader *reader, const struct arguments *arguments, struct error *error) {
        for (size_t i = 0; i < arguments->n_options; i++) {
                const struct parsed_option *option = &arguments->options[i];

                for (size_t j = 0; j < ARRAY_SIZE(readers); j++) {
                        int r;

                        if (!text_equal(vm_configuration_options[j].name, option->spec->name))
                                continue;
                        r = readers[j](reader, option->value, error);
                        /* What --network shares with `berth run` names itself. */
                        if (r < 0 && error && text_starts_with(error->text, "--"))
                                return r;
                        if (r < 0)
                                return error_prefix(error, "--%s", option->spec->name);
                }
        }
        return 0;
}

/* What options say only together. */
static int check(struct reader *reader, struct error *error) {
        json_t *file = reader->configuration->file;
        bool kernel = json_object_get(file, "kernel"), ssh = !json_object_get(file, "ssh");

        if (!reader->image && !kernel && reader->configuration->disk_size_gib == 0)
                return error_set(error, -EINVAL,
                                 "--image FILE or --kernel FILE is missing: what the VM boots");
        if (reader->image_format && !reader->image)
                return error_set(error, -EINVAL, "--image-format is of use with --image only");
        if (!kernel && (json_object_get(file, "initrd") || json_object_get(file, "command_line")))
                return error_set(error, -EINVAL, "--initrd and --command-line are of use with --kernel only");
        if (reader->no_network && json_object_get(file, "networks"))
                return error_set(error, -EINVAL, "--network and --no-network contradict each other");
        if (reader->no_network && (json_object_get(file, "forwards") || json_object_get(file, "ssh_port")))
                return error_set(error, -EINVAL,
                                 "ports are forwarded by a network, and --no-network leaves none");
        if (!ssh && json_object_get(file, "ssh_port"))
                return error_set(error, -EINVAL, "--ssh-port and --no-ssh contradict each other");
        return 0;
}

/* Where keys were given and not whom they let in, that is whoever made the VM: the image's own first user has
 * another name in each distribution. */
static int choose_user(struct reader *reader, struct error *error) {
        const json_t *file = reader->configuration->file;
        const struct passwd *user;

        if (!json_object_get(file, "ssh_keys") || json_object_get(file, "ssh_user") ||
            json_object_get(file, "user_data"))
                return 0;
        user = getpwuid(geteuid());
        return user && is_user(user->pw_name) ? set_text(reader, "ssh_user", user->pw_name, error) : 0;
}

/* What follows from the options. */
static int complete(struct reader *reader, struct error *error) {
        struct vm_configuration *configuration = reader->configuration;
        json_t *network;
        int r = 0;

        if (reader->image)
                r = vm_image_probe(&configuration->image, reader->image, reader->image_format, error);
        if (r == 0 && configuration->image.path) {
                r = set_path(reader, "image", configuration->image.path, error);
                if (r < 0)
                        return error_prefix(error, "--image");
        }
        if (r == 0 && (configuration->image.path || configuration->disk_size_gib > 0)) {
                r = set_text(reader, "disk", VM_DISK, error);
                if (r == 0)
                        r = set_text(reader, "disk_format", "qcow2", error);
        }
        if (r == 0 && configuration->disk_size_gib > 0)
                r = set(reader, "disk_size_gib", json_integer((json_int_t)configuration->disk_size_gib),
                        error);
        if (r == 0 && reader->no_network)
                r = set(reader, "ssh", json_false(), error);
        if (r == 0 && configuration->image.path)
                r = choose_user(reader, error);
        if (r < 0 || reader->no_network || json_object_get(configuration->file, "networks"))
                return r;
        r = vm_value_network("shared", &network, error);
        return r < 0 ? r : append(reader, "networks", network, error);
}

/* The members in the manual's order, whatever that of the options was. */
static int sort(struct reader *reader, struct error *error) {
        static const char *const keys[] = {
                "image",
                "disk",
                "disk_format",
                "disk_size_gib",
                "kernel",
                "initrd",
                "command_line",
                "machine",
                "firmware",
                "accelerator",
                "memory_mib",
                "cpus",
                "networks",
                "forwards",
                "ssh",
                "ssh_port",
                "ssh_user",
                "ssh_keys",
                "hostname",
                "user_data",
                "shares",
                "restart",
                "stop_timeout_seconds",
                "confine",
                "memory_limit_mib",
                "cpu_limit_percent",
        };
        json_t *file = reader->configuration->file, *sorted = json_object();

        for (size_t i = 0; sorted && i < ARRAY_SIZE(keys); i++)
                if (json_object_get(file, keys[i]))
                        json_object_set(sorted, keys[i], json_object_get(file, keys[i]));
        if (!sorted || json_object_size(sorted) != json_object_size(file)) {
                json_decref(sorted);
                return out_of_memory(error);
        }
        json_decref(file);
        reader->configuration->file = sorted;
        return 0;
}

int vm_configuration_read(struct vm_configuration *ret, struct session *session,
                          const struct arguments *arguments) {
        _cleanup_(vm_configuration_deinit) struct vm_configuration configuration = { .file = json_object() };
        struct reader reader = { .configuration = &configuration };
        int r;

        if (!configuration.file)
                return out_of_memory(&session->error);
        r = read_options(&reader, arguments, &session->error);
        if (r == 0)
                r = check(&reader, &session->error);
        session->misused = r == -EINVAL;
        if (r == 0)
                r = complete(&reader, &session->error);
        if (r == 0)
                r = sort(&reader, &session->error);
        if (r < 0)
                return r;
        *ret = configuration;
        configuration = (struct vm_configuration){ 0 };
        return 0;
}

void vm_configuration_deinit(struct vm_configuration *configuration) {
        json_decref(configuration->file);
        vm_image_deinit(&configuration->image);
        words_deinit(&configuration->identities);
        *configuration = (struct vm_configuration){ 0 };
}
