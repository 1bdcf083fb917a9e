/*
 * Members are taken apart one by one, the plain ones by a table, and what several must agree on is checked at
 * the end. Each complaint names the line that it is about.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "vmhost/configuration-forward.h"
#include "vmhost/configuration-member.h"
#include "vmhost/configuration-value.h"
#include "vmhost/configuration.h"

/* ---- Plain members ---- */

static int take_member(struct parse *p, const struct member *member, json_t *value, struct configuration *c) {
        void *ret = (char *)c + member->offset;
        unsigned number = 0;
        int r;

        switch (member->kind) {
        case MEMBER_NUMBER:
                return value_take_number(p, value, member->min, member->max, ret);
        case MEMBER_PORT:
                r = value_take_number(p, value, member->min, member->max, &number);
                if (r == 0)
                        *(uint16_t *)ret = (uint16_t)number;
                return r;
        case MEMBER_BOOL:
                return value_take_bool(p, value, ret);
        case MEMBER_CHOICE:
                return value_take_choice(p, value, member->choices, ret);
        case MEMBER_TEXT:
                return value_take_text(p, value, member->min, member->max, ret);
        case MEMBER_PATH:
                return value_take_path(p, value, ret);
        }
        return 0;
}

/* ---- Arrays ---- */

static int demand(struct parse *p, bool fulfilled, const char *otherwise) {
        return fulfilled ? 0 : value_complain(p, "%s", otherwise);
}

static int take_network_member(struct parse *p, json_t *value, struct configuration_network *n) {
        uint32_t address;
        struct mac mac;
        int r;

        if (text_equal(p->subkey, "network")) {
                r = value_take_text(p, value, 1, 63, &n->network);
                return r < 0 ? r : demand(p, text_is_name(n->network), "\"network\" is no name of a network");
        }
        if (text_equal(p->subkey, "id")) {
                r = value_take_text(p, value, 1, 64, &n->id);
                return r < 0 ? r : demand(p, text_is_uuid(n->id), "\"id\" must be a UUID in lower case");
        }
        if (text_equal(p->subkey, "mac")) {
                r = value_take_text(p, value, 1, 64, &n->mac);
                return r < 0 ? r
                             : demand(p, mac_parse(n->mac, &mac) == 0 && mac_is_unicast(&mac),
                                      "\"mac\" must be a unicast MAC address such as \"52:54:00:12:34:56\"");
        }
        if (text_equal(p->subkey, "address")) {
                r = value_take_text(p, value, 1, 64, &n->address);
                return r < 0 ? r
                             : demand(p, ipv4_parse(n->address, &address) == 0,
                                      "\"address\" must be an IPv4 address");
        }
        if (text_equal(p->subkey, "queues"))
                return value_take_number(p, value, 1, CONFIGURATION_QUEUES_MAX, &n->queues);
        if (text_equal(p->subkey, "isolated"))
                return value_take_bool(p, value, &n->isolated);
        return value_complain(p, "unknown key \"%.64s\" in a network", p->subkey);
}

static int take_networks(struct parse *p, json_t *value, struct configuration *c) {
        json_t *element, *member;

        int r = value_take_array(p, value, CONFIGURATION_NETWORKS_MAX, "networks", sizeof(*c->networks),
                                 &c->networks);
        if (r < 0)
                return r;
        json_array_foreach(value, p->index, element) {
                struct configuration_network *n = &c->networks[c->n_networks++];

                n->queues = 1;
                if (!json_is_object(element))
                        return value_complain(p, "a network must be an object such as "
                                                 "{\"network\": \"shared\"}");
                json_object_foreach(element, p->subkey, member) {
                        r = take_network_member(p, member, n);
                        if (r < 0)
                                return r;
                }
                if (!n->network)
                        return value_complain(p, "a network needs \"network\", its name");
                /* The VM has one name, and a network has it once. */
                for (size_t i = 0; i + 1 < c->n_networks; i++)
                        if (text_equal(c->networks[i].network, n->network))
                                return value_complain(p, "the network \"%s\" is there twice", n->network);
        }
        return 0;
}

static int take_forwards(struct parse *p, json_t *value, struct configuration *c) {
        json_t *element;

        int r = value_take_array(p, value, CONFIGURATION_FORWARDS_MAX, "texts", sizeof(*c->forwards),
                                 &c->forwards);
        if (r < 0)
                return r;
        json_array_foreach(value, p->index, element) {
                struct configuration_forward *f = &c->forwards[c->n_forwards++];
                const char *text = json_string_value(element);

                if (!text || forward_parse(text, f) < 0)
                        return value_complain(p, "a forward must be a text "
                                                 "[tcp:|udp:][ADDRESS:]HOST_PORT:GUEST_PORT, such as "
                                                 "\"127.0.0.1:8080:80\"");
                for (size_t i = 0; i + 1 < c->n_forwards; i++)
                        if (forward_collides(&c->forwards[i], f))
                                return value_complain(p, "\"%s\": this port of the host is forwarded already",
                                                      text);
        }
        return 0;
}

/* A public key as it stands in authorized_keys: one line, a type, a key. */
static bool is_ssh_key(const char *text) {
        const char *space = strchr(text, ' ');

        return space && space[1] && space[1] != ' ' && !strpbrk(text, "\r\n") &&
               (text_starts_with(text, "ssh-") || text_starts_with(text, "ecdsa-") ||
                text_starts_with(text, "sk-"));
}

static int take_strings(struct parse *p, json_t *value, size_t max, size_t length_max, char ***ret,
                        size_t *ret_n) {
        json_t *element;

        int r = value_take_array(p, value, max, "texts", sizeof(**ret), ret);
        if (r < 0)
                return r;
        json_array_foreach(value, p->index, element) {
                r = value_take_text(p, element, 0, length_max, &(*ret)[*ret_n]);
                if (r < 0)
                        return r;
                (*ret_n)++;
        }
        return 0;
}

static int take_ssh_keys(struct parse *p, json_t *value, struct configuration *c) {
        int r = take_strings(p, value, CONFIGURATION_KEYS_MAX, 16384, &c->ssh_keys, &c->n_ssh_keys);
        for (p->index = 0; r == 0 && p->index < c->n_ssh_keys; p->index++)
                if (!is_ssh_key(c->ssh_keys[p->index]))
                        return value_complain(p, "an ssh key must be the text of a public key, such as "
                                                 "\"ssh-ed25519 AAAA... name\"");
        return r;
}

static int take_extra_arguments(struct parse *p, json_t *value, struct configuration *c) {
        return take_strings(p, value, CONFIGURATION_EXTRA_MAX, 16384, &c->extra_arguments,
                            &c->n_extra_arguments);
}

/* What cloud-init takes begins with '#' or, as MIME, has several lines; a path has neither. */
static int take_user_data(struct parse *p, json_t *value, struct configuration *c) {
        const char *text = json_string_value(value);

        if (text && *text != '#' && !strchr(text, '\n'))
                return value_take_path(p, value, &c->user_data_file);
        return value_take_text(p, value, 1, CONFIGURATION_FILE_MAX, &c->user_data);
}

static int take_share_member(struct parse *p, json_t *value, struct configuration_share *s) {
        if (text_equal(p->subkey, "path"))
                return value_take_path(p, value, &s->path);
        if (text_equal(p->subkey, "tag"))
                return value_take_text(p, value, 1, 31, &s->tag); /* 9p's limit; virtiofs takes 36 */
        if (text_equal(p->subkey, "read_only"))
                return value_take_bool(p, value, &s->read_only);
        if (text_equal(p->subkey, "type"))
                return value_take_choice(p, value, configuration_share_types, (unsigned *)&s->type);
        return value_complain(p, "unknown key \"%.64s\" in a share", p->subkey);
}

static int take_shares(struct parse *p, json_t *value, struct configuration *c) {
        json_t *element, *member;

        int r = value_take_array(p, value, CONFIGURATION_SHARES_MAX, "shares", sizeof(*c->shares),
                                 &c->shares);
        if (r < 0)
                return r;
        json_array_foreach(value, p->index, element) {
                struct configuration_share *s = &c->shares[c->n_shares++];

                if (!json_is_object(element))
                        return value_complain(p, "a share must be an object such as "
                                                 "{\"path\": \"/srv\", \"tag\": \"srv\"}");
                json_object_foreach(element, p->subkey, member) {
                        r = take_share_member(p, member, s);
                        if (r < 0)
                                return r;
                }
                if (!s->path)
                        return value_complain(p, "a share needs \"path\"");
                if (s->read_only && s->type == SHARE_VIRTIOFS)
                        return value_complain(p, "a share of type \"virtiofs\" cannot be "
                                                 "\"read_only\"; \"9p\" can");
                if (!s->tag && !(s->tag = strdup(strrchr(s->path, '/') + 1)))
                        return value_out_of_memory(p);
                if (!text_is_name(s->tag) || strlen(s->tag) > 31)
                        return value_complain(p,
                                              "the share %s needs a \"tag\" of at most 31 letters, "
                                              "digits, '-', '_' and '.'",
                                              s->path);
                for (size_t i = 0; i + 1 < c->n_shares; i++)
                        if (text_equal(c->shares[i].tag, s->tag))
                                return value_complain(p, "the tag \"%s\" is there twice", s->tag);
        }
        return 0;
}

/* ---- All of it ---- */

static int take(struct parse *p, json_t *value, struct configuration *c) {
        static const struct {
                const char *key;
                int (*take)(struct parse *p, json_t *value, struct configuration *c);
        } others[] = {
                { "networks", take_networks }, { "forwards", take_forwards },
                { "ssh_keys", take_ssh_keys }, { "user_data", take_user_data },
                { "shares", take_shares },     { "extra_arguments", take_extra_arguments },
        };

        if (text_equal(p->key, "firmware") && text_equal(json_string_value(value), "auto"))
                return 0;
        for (const struct member *member = configuration_members; member->key; member++)
                if (text_equal(p->key, member->key))
                        return take_member(p, member, value, c);
        for (size_t i = 0; i < ARRAY_SIZE(others); i++)
                if (text_equal(p->key, others[i].key))
                        return others[i].take(p, value, c);
        return value_complain(p, "unknown key \"%.64s\"", p->key);
}

/* A user's name as useradd(8) takes it by default. */
static bool is_user(const char *text) {
        return strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") == strlen(text) &&
               !strchr("0123456789-", *text);
}

static int complain_at(struct parse *p, const char *key, const char *reason) {
        p->key = key;
        p->index = VALUE_NO_INDEX;
        p->subkey = NULL;
        return value_complain(p, "%s", reason);
}

/* The port for ssh is one more forward. */
static bool is_ssh_forwarded(const struct configuration *c) {
        const struct configuration_forward ssh = { .address.s6_addr = { 127, 0, 0, 1 },
                                                   .host_port = c->ssh_port };
        bool taken = false;

        for (size_t i = 0; c->ssh && c->ssh_port && i < c->n_forwards; i++)
                taken = taken || forward_collides(&c->forwards[i], &ssh);
        return taken;
}

/* What members must agree on. */
static int check(struct parse *p, json_t *root, const struct configuration *c) {
        if (!c->disk && !c->image && !c->kernel)
                return complain_at(p, NULL, "a VM needs a \"disk\", an \"image\" or a \"kernel\"");
        if (c->machine == MACHINE_MICROVM && !c->kernel)
                return complain_at(p, "machine",
                                   "a \"microvm\" needs a \"kernel\": it has no firmware for disks");
        if (c->image && c->disk_format == DISK_RAW)
                return complain_at(p, "disk_format", "a disk over an \"image\" is \"qcow2\"");
        if (!c->kernel && c->initrd)
                return complain_at(p, "initrd", "\"initrd\" needs \"kernel\"");
        if (!c->kernel && c->command_line)
                return complain_at(p, "command_line", "\"command_line\" needs \"kernel\"");
        if (c->hostname && !text_is_label(c->hostname))
                return complain_at(p, "hostname", "\"hostname\" must be of letters, digits and hyphens");
        if (c->ssh_user && !is_user(c->ssh_user))
                return complain_at(p, "ssh_user", "\"ssh_user\" is no name of a user");
        if (c->n_forwards > 0 && c->n_networks == 0)
                return complain_at(p, "forwards", "forwards need a network: the first of \"networks\"");
        if (!c->ssh && json_object_get(root, "ssh_port"))
                return complain_at(p, "ssh_port", "\"ssh_port\" and \"ssh\": false contradict each other");
        if (is_ssh_forwarded(c))
                return complain_at(p, "ssh_port", "\"ssh_port\" is one of \"forwards\" too");
        if (c->memory_limit_mib > 0 && c->memory_limit_mib < c->memory_mib)
                return complain_at(p, "memory_limit_mib",
                                   "\"memory_limit_mib\" is less than the VM's memory, \"memory_mib\"");
        return 0;
}

/* What is not in the file and depends on what is. */
static int complete(struct parse *p, const char *name, struct configuration *c) {
        if (!c->hostname && text_is_label(name) && !(c->hostname = strdup(name)))
                return value_out_of_memory(p);
        if (c->kernel && !c->command_line && !(c->command_line = strdup("console=ttyS0")))
                return value_out_of_memory(p);
        if (c->disk || !c->image)
                return 0;
        c->disk = text_format("%s/disk.qcow2", p->directory);
        return c->disk ? 0 : value_out_of_memory(p);
}

/* The absolute directory of a file: a new string, or NULL. */
static char *directory_of(const char *path) {
        const char *slash = strrchr(path, '/');
        size_t length = slash ? (size_t)(slash - path) : 0;

        if (*path == '/')
                return strndup(path, length);
        _cleanup_free_ char *here = get_current_dir_name();
        return here ? text_format("%s%s%.*s", here, slash ? "/" : "", (int)length, path) : NULL;
}

int configuration_parse(struct configuration **ret, const char *path, const char *name, const char *text,
                        size_t size, struct error *error) {
        json_error_t syntax;
        json_auto_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &syntax);
        json_t *value;
        const char *key;

        if (!root)
                return error_set(error, -EINVAL, "%s:%d: %s", path, syntax.line > 0 ? syntax.line : 1,
                                 syntax.text);
        if (!json_is_object(root))
                return error_set(error, -EINVAL, "%s:1: the file must hold one JSON object", path);

        _cleanup_free_ char *directory = directory_of(path);
        _cleanup_(configuration_freep) struct configuration *c = calloc(1, sizeof(*c));
        if (!c || !directory)
                return error_set(error, -ENOMEM, "%s: out of memory", path);
        *c = (struct configuration){ .memory_mib = 1024,
                                     .cpus = 1,
                                     .ssh = true,
                                     .stop_timeout_seconds = 30,
                                     .confine = true,
                                     .console_log_mib = 8 };
        struct parse p = { .directory = directory, .path = path, .text = text, .size = size, .error = error };
        json_object_foreach(root, key, value) {
                p.key = key;
                p.index = VALUE_NO_INDEX;
                p.subkey = NULL;
                int r = take(&p, value, c);
                if (r < 0)
                        return r;
        }
        int r = check(&p, root, c);
        if (r == 0)
                r = complete(&p, name, c);
        if (r < 0)
                return r;
        *ret = steal_ptr(c);
        return 0;
}
