/*
 * cloud-init reads YAML, of which JSON is a part: so each file is made as JSON, and nothing has to be quoted
 * by hand.
 */
#include "vmhost/seed.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "vmhost/fat.h"

#define VOLUME "CIDATA"

bool seed_is_wanted(const struct configuration *c) {
        return c->disk || c->user_data || c->user_data_file;
}

/* Dumps and drops an object: a new string, or NULL; "prefix" before it. */
static char *dump(const char *prefix, json_t *consume_object) {
        _cleanup_free_ char *json = consume_object ? json_dumps(consume_object, JSON_INDENT(2)) : NULL;

        json_decref(consume_object);
        return json ? text_format("%s%s\n", prefix, json) : NULL;
}

/* The id is the VM's for good: with another one cloud-init would take the disk for a copy, and begin anew. */
static char *make_meta_data(const struct configuration *c, const char *name) {
        json_t *keys = json_array();
        json_t *object;

        for (size_t i = 0; i < c->n_ssh_keys; i++)
                json_array_append_new(keys, json_string(c->ssh_keys[i]));
        object = json_pack("{ss* so}", "local-hostname", c->hostname, "public-keys", keys);
        _cleanup_free_ char *id = text_format("berth-%s", name);
        if (object && (!id || json_object_set_new(object, "instance-id", json_string(id)) < 0)) {
                json_decref(object);
                return NULL;
        }
        return dump("", object);
}

/* Without user data of one's own. The keys of the meta-data go to the image's default user, whom `user`
 * renames (an object, for cloud-init warns of a text since 22.2). */
static char *make_user_data(const struct configuration *c) {
        json_t *object = json_pack("{ss* sb}", "hostname", c->hostname, "ssh_pwauth", false);

        if (object && c->ssh_user)
                json_object_set_new(object, "user", json_pack("{ss}", "name", c->ssh_user));
        if (object && text_equal(c->ssh_user, "root"))
                json_object_set_new(object, "disable_root", json_false());
        return dump("#cloud-config\n", object);
}

static char *make_network_config(const char *const *macs, size_t n_macs) {
        json_t *ethernets = json_object();

        for (size_t i = 0; i < n_macs; i++) {
                _cleanup_free_ char *name = text_format("net%zu", i);

                /* The first has the way out; booting does not wait for the others. */
                if (name)
                        json_object_set_new(ethernets, name,
                                            json_pack("{s{ss} sb sb}", "match", "macaddress", macs[i],
                                                      "dhcp4", true, "optional", i > 0));
        }
        return dump("", json_pack("{si so}", "version", 2, "ethernets", ethernets));
}

static int take_user_data(const struct configuration *c, char **ret, struct error *error) {
        size_t size;

        if (c->user_data_file)
                return file_read(c->user_data_file, CONFIGURATION_FILE_MAX, ret, &size, error);
        *ret = c->user_data ? strdup(c->user_data) : make_user_data(c);
        return *ret ? 0 : error_set(error, -ENOMEM, "out of memory");
}

int seed_write(const struct configuration *c, const char *name, const char *const *macs, size_t n_macs,
               const char *path, struct error *error) {
        _cleanup_free_ char *meta_data = make_meta_data(c, name), *user_data = NULL;
        _cleanup_free_ char *network_config = make_network_config(macs, n_macs);
        _cleanup_(fat_freep) struct fat *fat = NULL;

        int r = take_user_data(c, &user_data, error);
        if (r < 0)
                return r;
        r = meta_data && network_config ? fat_new(&fat, VOLUME) : -ENOMEM;
        if (r == 0)
                r = fat_add(fat, "meta-data", meta_data, strlen(meta_data));
        if (r == 0)
                r = fat_add(fat, "user-data", user_data, strlen(user_data));
        if (r == 0 && n_macs > 0)
                r = fat_add(fat, "network-config", network_config, strlen(network_config));
        if (r < 0)
                return error_errno(error, r, "cannot make the seed");
        return fat_write(fat, path, 0600, error);
}

/* The keys as a file of authorized_keys: a new string, or NULL. */
static char *join_keys(const struct configuration *c) {
        size_t size = 1;

        for (size_t i = 0; i < c->n_ssh_keys; i++)
                size += strlen(c->ssh_keys[i]) + 1;
        char *text = malloc(size), *end = text;
        for (size_t i = 0; text && i < c->n_ssh_keys; i++) {
                end = stpcpy(end, c->ssh_keys[i]);
                *end++ = '\n';
        }
        if (text)
                *end = '\0';
        return text;
}

int seed_credentials(const struct configuration *c, struct seed_credential ret[static SEED_CREDENTIALS_MAX],
                     size_t *ret_n) {
        _cleanup_free_ char *hostname = c->hostname ? strdup(c->hostname) : NULL, *keys = join_keys(c);
        size_t n = 0;

        if ((c->hostname && !hostname) || !keys)
                return -ENOMEM;
        if (hostname)
                ret[n++] = (struct seed_credential){ "system.hostname", steal_ptr(hostname) };
        if (strlen(keys) > SEED_CREDENTIAL_VALUE_MAX)
                log_warning("the ssh keys are too long for a systemd credential: only cloud-init gets them");
        else if (*keys)
                ret[n++] = (struct seed_credential){ "ssh.authorized_keys.root", steal_ptr(keys) };
        *ret_n = n;
        return 0;
}
