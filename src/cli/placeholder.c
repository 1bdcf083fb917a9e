/* Placeholders: {net0.fd} and the like in a command's arguments, and what stands for them. */
#include "cli/placeholder.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

static const struct {
        const char *name;
        bool in_environment;
} table[PLACEHOLDER_MAX] = {
        [PLACEHOLDER_FD] = { "fd", true },
        [PLACEHOLDER_FDS] = { "fds", true },
        [PLACEHOLDER_FD_LIST] = { "fd_list", false },
        [PLACEHOLDER_MAC] = { "mac", true },
        [PLACEHOLDER_MTU] = { "mtu", true },
        [PLACEHOLDER_ADDRESS] = { "address", true },
        [PLACEHOLDER_IPV6_ADDRESS] = { "ipv6_address", true },
        [PLACEHOLDER_NAME] = { "name", true },
        [PLACEHOLDER_PORT] = { "port", true },
        [PLACEHOLDER_NETWORK] = { "network", true },
        [PLACEHOLDER_GATEWAY] = { "gateway", true },
        [PLACEHOLDER_QUEUES] = { "queues", true },
        [PLACEHOLDER_VNET_HEADER_SIZE] = { "vnet_header_size", true },
        [PLACEHOLDER_VHOST_FD] = { "vhost_fd", false },
        [PLACEHOLDER_VHOST_FDS] = { "vhost_fds", false },
};

const char *placeholder_name(enum placeholder placeholder) {
        return table[placeholder].name;
}

bool placeholder_in_environment(enum placeholder placeholder) {
        return table[placeholder].in_environment;
}

void placeholder_values_deinit(struct placeholder_values *values) {
        for (size_t i = 0; i < PLACEHOLDER_MAX; i++)
                free(values->values[i]);
        *values = (struct placeholder_values){ 0 };
}

/* Text of the form {netN.word}. */
struct reference {
        size_t length; /* of the whole, with its braces */
        unsigned long network;
        const char *word;
        size_t word_length;
};

static bool reference_parse(const char *s, struct reference *ret) {
        const char *c = s;
        char *end;

        if (strncmp(c, "{net", 4) != 0 || !isdigit((unsigned char)c[4]))
                return false;
        ret->network = strtoul(c + 4, &end, 10); /* one too large is ULONG_MAX, and no network */
        if (*end != '.')
                return false;
        ret->word = end + 1;
        c = ret->word;
        while (islower((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_')
                c++;
        ret->word_length = (size_t)(c - ret->word);
        if (ret->word_length == 0 || *c != '}')
                return false;
        ret->length = (size_t)(c + 1 - s);
        return true;
}

/* PLACEHOLDER_MAX when there is none of that name. */
static enum placeholder reference_find(const struct reference *reference) {
        for (enum placeholder p = 0; p < PLACEHOLDER_MAX; p++)
                if (strlen(table[p].name) == reference->word_length &&
                    strncmp(table[p].name, reference->word, reference->word_length) == 0)
                        return p;
        return PLACEHOLDER_MAX;
}

static int unknown_word(const char *s, const struct reference *reference, struct error *error) {
        char known[256] = "";
        size_t used = 0;

        for (enum placeholder p = 0; p < PLACEHOLDER_MAX && used < sizeof(known); p++)
                used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", p > 0 ? ", " : "",
                                         table[p].name);
        return error_set(error, -EINVAL, "%.*s: unknown placeholder; there are %s", (int)reference->length, s,
                         known);
}

int placeholder_scan(const char *argument, size_t n_networks, unsigned *uses, struct error *error) {
        for (const char *s = argument; (s = strchr(s, '{'));) {
                struct reference reference;
                enum placeholder found;

                if (!reference_parse(s, &reference)) {
                        s++;
                        continue;
                }
                found = reference_find(&reference);
                if (found == PLACEHOLDER_MAX)
                        return unknown_word(s, &reference, error);
                if (reference.network >= n_networks)
                        return error_set(error, -EINVAL,
                                         "%.*s: there is no such network; --network is given %zu "
                                         "times, and the first is net0",
                                         (int)reference.length, s, n_networks);
                uses[reference.network] |= 1U << found;
                s += reference.length;
        }
        return 0;
}

char *placeholder_fill(const char *argument, const struct placeholder_values *networks, size_t n_networks) {
        _cleanup_free_ char *filled = NULL;
        size_t size;
        FILE *out = open_memstream(&filled, &size);

        if (!out)
                return NULL;
        for (const char *s = argument; *s;) {
                struct reference reference;
                enum placeholder found = PLACEHOLDER_MAX;

                if (*s == '{' && reference_parse(s, &reference) && reference.network < n_networks)
                        found = reference_find(&reference);
                if (found == PLACEHOLDER_MAX) {
                        fputc(*s++, out);
                        continue;
                }
                if (networks[reference.network].values[found])
                        fputs(networks[reference.network].values[found], out);
                s += reference.length;
        }
        return fclose(out) == 0 ? steal_ptr(filled) : NULL;
}
