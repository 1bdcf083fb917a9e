#include "vmhost/configuration.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/memory.h"
#include "vmhost/configuration-forward.h"
#include "vmhost/configuration-member.h"

static const char *const machines[] = { "q35", "microvm", NULL };
static const char *const disk_formats[] = { "qcow2", "raw", NULL };
static const char *const accelerators[] = { "auto", "kvm", "tcg", NULL };
static const char *const restarts[] = { "no", "on-failure", "always", NULL };
const char *const configuration_share_types[] = { "9p", "virtiofs", NULL };

#define AT(member) offsetof(struct configuration, member)

const struct member configuration_members[] = {
        { "memory_mib", MEMBER_NUMBER, AT(memory_mib), 16, 16 * 1024 * 1024, NULL },
        { "cpus", MEMBER_NUMBER, AT(cpus), 1, 255, NULL },
        { "machine", MEMBER_CHOICE, AT(machine), 0, 0, machines },
        { "image", MEMBER_PATH, AT(image), 1, 4095, NULL },
        { "disk", MEMBER_PATH, AT(disk), 1, 4095, NULL },
        { "disk_format", MEMBER_CHOICE, AT(disk_format), 0, 0, disk_formats },
        { "disk_size_gib", MEMBER_NUMBER, AT(disk_size_gib), 0, 1024 * 1024, NULL },
        { "kernel", MEMBER_PATH, AT(kernel), 1, 4095, NULL },
        { "initrd", MEMBER_PATH, AT(initrd), 1, 4095, NULL },
        /* COMMAND_LINE_SIZE of Linux on x86 is 2048; what is longer it cuts off without a word. */
        { "command_line", MEMBER_TEXT, AT(command_line), 0, 2047, NULL },
        { "firmware", MEMBER_PATH, AT(firmware), 1, 4095, NULL },
        { "ssh", MEMBER_BOOL, AT(ssh), 0, 0, NULL },
        { "ssh_port", MEMBER_PORT, AT(ssh_port), 0, 65535, NULL },
        { "hostname", MEMBER_TEXT, AT(hostname), 1, 63, NULL },
        { "ssh_user", MEMBER_TEXT, AT(ssh_user), 1, 32, NULL },
        { "restart", MEMBER_CHOICE, AT(restart), 0, 0, restarts },
        { "stop_timeout_seconds", MEMBER_NUMBER, AT(stop_timeout_seconds), 1, 24 * 3600, NULL },
        { "confine", MEMBER_BOOL, AT(confine), 0, 0, NULL },
        { "memory_limit_mib", MEMBER_NUMBER, AT(memory_limit_mib), 0, 16 * 1024 * 1024, NULL },
        { "cpu_limit_percent", MEMBER_NUMBER, AT(cpu_limit_percent), 0, 25500, NULL },
        { "accelerator", MEMBER_CHOICE, AT(accelerator), 0, 0, accelerators },
        { "console_log_mib", MEMBER_NUMBER, AT(console_log_mib), 1, 64, NULL },
        { NULL, MEMBER_NUMBER, 0, 0, 0, NULL },
};

int configuration_load(struct configuration **ret, const char *path, const char *name, struct error *error) {
        _cleanup_free_ char *text = NULL;
        size_t size;

        int r = file_read(path, CONFIGURATION_FILE_MAX, &text, &size, error);
        if (r < 0)
                return r;
        return configuration_parse(ret, path, name, text, size, error);
}

static void free_strings(char **strings, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(strings[i]);
        free(strings);
}

struct configuration *configuration_ref(const struct configuration *configuration) {
        struct configuration *c = (struct configuration *)configuration;

        atomic_fetch_add(&c->further, 1);
        return c;
}

struct configuration *configuration_free(struct configuration *c) {
        if (!c || atomic_fetch_sub(&c->further, 1) > 0)
                return NULL;
        for (const struct member *member = configuration_members; member->key; member++)
                if (member->kind == MEMBER_TEXT || member->kind == MEMBER_PATH)
                        free(*(char **)((char *)c + member->offset));
        for (size_t i = 0; i < c->n_networks; i++) {
                free(c->networks[i].network);
                free(c->networks[i].id);
                free(c->networks[i].mac);
                free(c->networks[i].address);
        }
        free(c->networks);
        free(c->forwards);
        for (size_t i = 0; i < c->n_shares; i++) {
                free(c->shares[i].path);
                free(c->shares[i].tag);
        }
        free(c->shares);
        free_strings(c->ssh_keys, c->n_ssh_keys);
        free_strings(c->extra_arguments, c->n_extra_arguments);
        free(c->user_data);
        free(c->user_data_file);
        free(c);
        return NULL;
}

void configuration_freep(struct configuration **configuration) {
        *configuration = configuration_free(*configuration);
}

/* ---- Showing ---- */

static json_t *describe_member(const struct configuration *c, const struct member *member) {
        const void *value = (const char *)c + member->offset;

        switch (member->kind) {
        case MEMBER_NUMBER:
                return json_integer(*(const unsigned *)value);
        case MEMBER_PORT:
                return json_integer(*(const uint16_t *)value);
        case MEMBER_BOOL:
                return json_boolean(*(const bool *)value);
        case MEMBER_CHOICE:
                return json_string(member->choices[*(const unsigned *)value]);
        case MEMBER_TEXT:
        case MEMBER_PATH:
                return json_string(*(char *const *)value); /* NULL for NULL, which is then left out */
        }
        return NULL;
}

static json_t *describe_networks(const struct configuration *c) {
        json_t *array = json_array();

        for (size_t i = 0; i < c->n_networks; i++) {
                const struct configuration_network *n = &c->networks[i];

                json_array_append_new(array, json_pack("{ss ss* ss* ss* si sb}", "network", n->network, "id",
                                                       n->id, "mac", n->mac, "address", n->address, "queues",
                                                       (int)n->queues, "isolated", n->isolated));
        }
        return array;
}

static json_t *describe_forwards(const struct configuration *c) {
        json_t *array = json_array();

        for (size_t i = 0; i < c->n_forwards; i++) {
                _cleanup_free_ char *text = forward_format(&c->forwards[i]);

                json_array_append_new(array, json_string(text));
        }
        return array;
}

static json_t *describe_shares(const struct configuration *c) {
        json_t *array = json_array();

        for (size_t i = 0; i < c->n_shares; i++) {
                const struct configuration_share *s = &c->shares[i];

                json_array_append_new(array,
                                      json_pack("{ss ss sb ss}", "path", s->path, "tag", s->tag, "read_only",
                                                s->read_only, "type", configuration_share_types[s->type]));
        }
        return array;
}

static json_t *describe_strings(char *const *strings, size_t n) {
        json_t *array = json_array();

        for (size_t i = 0; i < n; i++)
                json_array_append_new(array, json_string(strings[i]));
        return array;
}

json_t *configuration_describe(const struct configuration *c) {
        json_t *object = json_object();

        for (const struct member *member = configuration_members; member->key; member++)
                json_object_set_new(object, member->key, describe_member(c, member));
        if (!c->firmware)
                json_object_set_new(object, "firmware", json_string("auto"));
        if (!c->ssh || c->n_networks == 0)
                json_object_del(object, "ssh_port");
        json_object_set_new(object, "networks", describe_networks(c));
        json_object_set_new(object, "forwards", describe_forwards(c));
        json_object_set_new(object, "ssh_keys", describe_strings(c->ssh_keys, c->n_ssh_keys));
        json_object_set_new(object, "user_data",
                            json_string(c->user_data ? c->user_data : c->user_data_file));
        json_object_set_new(object, "shares", describe_shares(c));
        json_object_set_new(object, "extra_arguments",
                            describe_strings(c->extra_arguments, c->n_extra_arguments));
        return object;
}
