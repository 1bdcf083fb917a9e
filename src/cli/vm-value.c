/* Values: those of the options that describe a VM, checked and brought into the form of its file. */
#include "cli/vm-value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/address.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/arguments.h"
#include "cli/network-option.h"

#define MEMORY_MIN_MIB 16
#define MEMORY_MAX_MIB (UINT64_C(16) << 20)
#define DISK_MAX_GIB (UINT64_C(64) << 10)
#define KEY_FILE_MAX (64 * 1024)
#define TAG_MAX 31 /* characters; virtio-fs has 36 bytes, 9p 32 with its end */

static int out_of_memory(struct error *error) {
        return error_set(error, -ENOMEM, "out of memory");
}

/* A number and the unit behind it; units[i] stands for 1024^i of the first, which none means too. */
static int parse_size(const char *value, const char *units, uint64_t max, uint64_t *ret) {
        _cleanup_free_ char *digits = strndup(value, strspn(value, "0123456789"));
        const char *unit = digits ? value + strlen(digits) : "", *found = units;
        uint64_t number;

        if (!digits)
                return -ENOMEM;
        if (*unit) {
                found = strchr(units, *unit >= 'a' && *unit <= 'z' ? *unit - 'a' + 'A' : *unit);
                if (!found ||
                    !(text_equal(unit + 1, "") || text_equal(unit + 1, "B") || text_equal(unit + 1, "iB")))
                        return -EINVAL;
        }
        if (text_parse_u64(digits, max, &number) < 0)
                return -EINVAL;
        /* No unit makes of max, as it is here, more than 64 bits hold. */
        for (; found > units; found--)
                number *= 1024;
        if (number > max)
                return -EINVAL;
        *ret = number;
        return 0;
}

int vm_value_memory(const char *value, uint64_t *ret_mib, struct error *error) {
        uint64_t mib;
        int r = parse_size(value, "MGT", MEMORY_MAX_MIB, &mib);

        if (r == -ENOMEM)
                return out_of_memory(error);
        if (r < 0 || mib < MEMORY_MIN_MIB)
                return error_set(error, -EINVAL,
                                 "%s: not a size of memory, such as 512M or 2G (at least %dM)", value,
                                 MEMORY_MIN_MIB);
        *ret_mib = mib;
        return 0;
}

int vm_value_disk_size(const char *value, uint64_t *ret_gib, struct error *error) {
        uint64_t gib;
        int r = parse_size(value, "GT", DISK_MAX_GIB, &gib);

        if (r == -ENOMEM)
                return out_of_memory(error);
        if (r < 0 || gib == 0)
                return error_set(error, -EINVAL, "%s: not a size of a disk, such as 20G", value);
        *ret_gib = gib;
        return 0;
}

/* A port, 1 to 65535, at the start of *text up to `end`; *text is moved behind it. */
static int take_port(const char **text, char end, uint16_t *ret) {
        size_t length = strspn(*text, "0123456789");
        _cleanup_free_ char *digits = strndup(*text, length);
        uint64_t port;

        if (!digits)
                return -ENOMEM;
        if ((*text)[length] != end || text_parse_u64(digits, 65535, &port) < 0 || port == 0)
                return -EINVAL;
        *text += length + (end != '\0');
        *ret = (uint16_t)port;
        return 0;
}

/* The address before a ':', if there is one: a new string in *ret, or NULL. */
static int take_address(const char **text, char **ret) {
        bool ipv6 = **text == '[';
        size_t length = ipv6 ? strcspn(*text, "]") : strcspn(*text, ":");
        _cleanup_free_ char *address = ipv6 ? strndup(*text + 1, length - 1) : strndup(*text, length);
        struct in6_addr address6;
        uint32_t address4;

        if (!address)
                return -ENOMEM;
        if (ipv6) {
                if ((*text)[length] != ']' || (*text)[length + 1] != ':' ||
                    ipv6_parse(address, &address6) < 0)
                        return -EINVAL;
                *text += length + 2;
                *ret = text_format("[%s]", address);
                return *ret ? 0 : -ENOMEM;
        }
        if (!strchr(address, '.'))
                return 0; /* a port */
        if ((*text)[length] != ':' || ipv4_parse(address, &address4) < 0)
                return -EINVAL;
        *text += length + 1;
        *ret = steal_ptr(address);
        return 0;
}

int vm_value_forward(const char *value, char **ret, struct error *error) {
        _cleanup_free_ char *address = NULL;
        const char *rest = value, *protocol = "";
        uint16_t port, guest_port;
        int r;

        if (text_starts_with(rest, "udp:")) {
                protocol = "udp:";
                rest += 4;
        } else if (text_starts_with(rest, "tcp:")) {
                rest += 4;
        }
        r = take_address(&rest, &address);
        if (r == 0)
                r = take_port(&rest, ':', &port);
        if (r == 0)
                r = take_port(&rest, '\0', &guest_port);
        if (r == -EINVAL)
                return error_set(error, r,
                                 "%s: not of the form [udp:][ADDRESS:]PORT:GUEST-PORT, such as 8080:80 or "
                                 "udp:127.0.0.1:5353:53",
                                 value);
        if (r == 0)
                *ret = text_format("%s%s:%u:%u", protocol, address ? address : "127.0.0.1", port, guest_port);
        return r < 0 || !*ret ? out_of_memory(error) : 0;
}

int vm_value_file(const char *value, char **ret, struct error *error) {
        _cleanup_free_ char *path = realpath(value, NULL);
        struct stat st;

        if (!path || stat(path, &st) < 0 || access(path, R_OK) < 0)
                return error_errno(error, -errno, "cannot use %s", value);
        if (!S_ISREG(st.st_mode))
                return error_set(error, -EINVAL, "%s is no file", value);
        *ret = steal_ptr(path);
        return 0;
}

static bool is_tag(const char *tag) {
        size_t n = strlen(tag);

        return n >= 1 && n <= TAG_MAX && text_is_name(tag);
}

/* One member behind the path of --share. */
static int parse_share_member(json_t *share, const char *member, struct error *error) {
        if (text_equal(member, "read-only") || text_equal(member, "ro"))
                return json_object_set_new(share, "read_only", json_true()) < 0 ? out_of_memory(error) : 0;
        if (text_starts_with(member, "tag=")) {
                if (!is_tag(member + 4))
                        return error_set(error, -EINVAL,
                                         "tag=%s: a tag has 1 to %d letters, digits, '-', '_' and '.'",
                                         member + 4, TAG_MAX);
                return json_object_set_new(share, "tag", json_string(member + 4)) < 0 ? out_of_memory(error)
                                                                                      : 0;
        }
        if (text_equal(member, "type=9p") || text_equal(member, "type=virtiofs"))
                return json_object_set_new(share, "type", json_string(member + 5)) < 0 ? out_of_memory(error)
                                                                                       : 0;
        return error_set(error, -EINVAL,
                         "%s: unknown; there are tag=TAG, type=9p, type=virtiofs and read-only", member);
}

int vm_value_share(const char *value, json_t **ret, struct error *error) {
        _cleanup_free_ char *text = strdup(value), *path = NULL;
        json_auto_t *share = json_object();
        char *rest = text, *given;
        const char *base;
        struct stat st;

        if (!text || !share)
                return out_of_memory(error);
        given = strsep(&rest, ",");
        path = realpath(given, NULL);
        if (!path || stat(path, &st) < 0)
                return error_errno(error, -errno, "cannot share %s", given);
        if (!S_ISDIR(st.st_mode))
                return error_set(error, -EINVAL, "%s is no directory", given);
        base = strrchr(path, '/') + 1;
        if (json_object_set_new(share, "path", json_string(path)) < 0 ||
            (is_tag(base) && json_object_set_new(share, "tag", json_string(base)) < 0))
                return error_set(error, -EINVAL, "the path %s is no UTF-8", given);
        while (rest) {
                int r = parse_share_member(share, strsep(&rest, ","), error);

                if (r < 0)
                        return r;
        }
        if (!json_object_get(share, "tag"))
                return error_set(error, -EINVAL,
                                 "%s: the folder's name cannot be the tag by which the guest mounts it; "
                                 "add ,tag=TAG",
                                 value);
        *ret = steal_ptr(share);
        return 0;
}

int vm_value_network(const char *value, json_t **ret, struct error *error) {
        struct network_option option;
        json_t *network;
        int r;

        r = network_option_parse(&option, value, error);
        if (r < 0)
                return r;
        if (option.interface.name || option.interface.mtu > 0) {
                r = error_set(error, -EINVAL,
                              option.interface.name ? "%s: name= is the VM's own name, which is given once"
                                                    : "%s: mtu= is for `berth run`; a VM takes the network's",
                              value);
                network_option_deinit(&option);
                return r;
        }
        /* "s*" leaves a member out where its string is NULL. */
        network = json_pack("{s:s, s:s*, s:s*, s:s*}", "network", option.network, "mac", option.interface.mac,
                            "id", option.interface.id, "address", option.interface.address);
        if (network && option.interface.queues > 0)
                json_object_set_new(network, "queues", json_integer(option.interface.queues));
        if (network && option.interface.isolated)
                json_object_set_new(network, "isolated", json_true());
        network_option_deinit(&option);
        *ret = network;
        return network ? 0 : out_of_memory(error);
}

/* Whether a line looks like a public key of OpenSSH: a type, a blank, and the base64 of a length below 2^24.
 */
static bool is_key(const char *line) {
        static const char *const types[] = { "ssh-", "ecdsa-", "sk-" };
        const char *blank = strchr(line, ' ');

        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                if (text_starts_with(line, types[i]))
                        return blank && text_starts_with(blank + 1, "AAAA");
        return false;
}

static int add_keys(const char *source, char *text, json_t *keys, struct error *error) {
        size_t n = 0;

        for (char *line; (line = strsep(&text, "\n"));) {
                size_t length = strlen(line);

                while (length > 0 && strchr(" \t\r", line[length - 1]))
                        line[--length] = '\0';
                if (length == 0 || line[0] == '#')
                        continue;
                if (!is_key(line))
                        return error_set(error, -EINVAL,
                                         strstr(line, "PRIVATE KEY")
                                                 ? "%s is a private key; the public one is in %s.pub"
                                                 : "%s holds no public key of ssh",
                                         source, source);
                if (json_array_append_new(keys, json_string(line)) < 0)
                        return error_set(error, -EINVAL, "%s: a key's comment is no UTF-8", source);
                n++;
        }
        return n > 0 ? 0 : error_set(error, -EINVAL, "%s holds no public key of ssh", source);
}

int vm_value_ssh_key(const char *value, json_t *keys, struct words *identities, struct error *error) {
        _cleanup_free_ char *text = NULL, *path = NULL;
        size_t size, length;
        int r;

        if (is_key(value)) {
                text = strdup(value);
                return text ? add_keys("--ssh-key", text, keys, error) : out_of_memory(error);
        }
        r = file_read(value, KEY_FILE_MAX, &text, &size, error);
        if (r < 0)
                return r;
        r = add_keys(value, text, keys, error);
        path = r < 0 ? NULL : realpath(value, NULL);
        length = path ? strlen(path) : 0;
        if (length > 4 && text_equal(path + length - 4, ".pub")) {
                path[length - 4] = '\0';
                if (access(path, F_OK) == 0 && words_append(identities, "%s", path) < 0)
                        return out_of_memory(error);
        }
        return r;
}
