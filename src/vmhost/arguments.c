#include "vmhost/arguments.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "vmhost/console-log.h"
#include "vmhost/qemu.h"
#include "vmhost/seed.h"

/* The words so far; a failure to add one is kept, and comes out at the end. */
struct words {
        char **words;
        size_t n;
        bool failed;
};

struct composition {
        struct words words;
        const struct configuration *c;
        const struct arguments_context *context;
        bool pci; /* microvm has virtio-mmio instead, */
        const char *bus; /* and so virtio devices with another end to their names */
};

static void add_consume(struct words *words, char *consume_word) {
        char **longer = consume_word ? reallocarray(words->words, words->n + 2, sizeof(*longer)) : NULL;

        if (!longer) {
                free(consume_word);
                words->failed = true;
                return;
        }
        words->words = longer;
        words->words[words->n++] = consume_word;
        words->words[words->n] = NULL;
}

__attribute__((format(printf, 2, 3))) static void add(struct composition *q, const char *format, ...) {
        char *word;
        va_list args;

        va_start(args, format);
        if (vasprintf(&word, format, args) < 0)
                word = NULL;
        va_end(args);
        add_consume(&q->words, word);
}

static void add_pair(struct composition *q, const char *option, const char *value) {
        add(q, "%s", option);
        add(q, "%s", value);
}

/* An option whose value is JSON, where nothing in a path has a meaning. */
static void add_json(struct composition *q, const char *option, json_t *consume_value) {
        add(q, "%s", option);
        add_consume(&q->words, consume_value ? json_dumps(consume_value, JSON_COMPACT) : NULL);
        json_decref(consume_value);
}

/* In a value of KEY=VALUE,... a comma is written twice: a new string, or NULL. */
static char *escape(const char *value) {
        char *text = malloc(2 * strlen(value) + 1), *end = text;

        for (const char *p = value; text && *p; p++) {
                if (*p == ',')
                        *end++ = ',';
                *end++ = *p;
        }
        if (text)
                *end = '\0';
        return text;
}

/* ---- The machine ---- */

static void add_machine(struct composition *q) {
        const struct configuration *c = q->c;

        add(q, "-machine");
        if (q->pci)
                add(q, "q35,memory-backend=memory");
        else
                /* ACPI brings the power button to microvm, and takes the old timer away: then a kernel needs
                 * KVM's clock to find out how fast time passes, and hangs where there is none. */
                add(q, "microvm,acpi=%s,memory-backend=memory", q->context->kvm ? "on" : "off");
        add_pair(q, "-accel", q->context->kvm ? "kvm" : "tcg");
        add_pair(q, "-cpu", q->context->kvm ? "host" : "max");
        add(q, "-smp");
        add(q, "%u", c->cpus);
        add(q, "-m");
        add(q, "%uM", c->memory_mib);
        /* Shared, so that devices in other processes (vhost-user) reach it. */
        add(q, "-object");
        add(q, "memory-backend-memfd,id=memory,size=%uM,share=on", c->memory_mib);
        add_pair(q, "-rtc", "base=utc");
        if (q->pci)
                add_pair(q, "-device", "pvpanic");
        add(q, "-device");
        add(q, "virtio-rng-%s", q->bus);
}

/* qboot starts a kernel in a fraction of the time that SeaBIOS takes; it cannot start a disk. */
static void add_boot(struct composition *q) {
        const struct configuration *c = q->c;

        if (c->firmware)
                add_pair(q, "-bios", c->firmware);
        else if (c->kernel && q->context->host->qboot)
                add_pair(q, "-bios", "qboot.rom");
        if (!c->kernel)
                return;
        add_pair(q, "-kernel", c->kernel);
        if (c->initrd)
                add_pair(q, "-initrd", c->initrd);
        if (c->command_line)
                add_pair(q, "-append", c->command_line);
}

static void add_channels(struct composition *q) {
        const struct arguments_context *context = q->context;
        _cleanup_free_ char *directory = escape(context->directory);

        add(q, "-chardev");
        add(q, "socket,id=qmp,fd=%d,server=on,wait=off", context->qmp);
        add_pair(q, "-mon", "chardev=qmp,mode=control");
        add(q, "-chardev");
        if (directory)
                add(q, "socket,id=console,fd=%d,server=on,wait=off,logfile=%s/" CONSOLE_LOG ",logappend=on",
                    context->console, directory);
        else
                q->words.failed = true;
        add_pair(q, "-serial", "chardev:console");
        add(q, "-chardev");
        add(q, "socket,id=agent,fd=%d,server=on,wait=off", context->agent);
        add(q, "-device");
        add(q, "virtio-serial-%s", q->bus);
        /* Of a port without an id QEMU does not tell that it is opened. */
        add_pair(q, "-device", "virtserialport,id=agent,chardev=agent,name=org.qemu.guest_agent.0");
}

/* ---- Disks ---- */

static void add_disk(struct composition *q) {
        const struct configuration *c = q->c;
        const char *aio = q->context->host->io_uring ? "io_uring" : "threads";
        json_t *file;

        if (!c->disk)
                return;
        file = json_pack("{ss ss ss ss}", "driver", q->context->disk_is_device ? "host_device" : "file",
                         "filename", c->disk, "aio", aio, "discard", "unmap");
        add_json(q, "-blockdev",
                 json_pack("{ss ss ss so}", "driver", c->disk_format == DISK_RAW ? "raw" : "qcow2",
                           "node-name", "disk", "discard", "unmap", "file", file));
        /* A full or failing disk of the host stops the VM, in place of errors that a guest's file system does
         * not survive. */
        add(q, "-device");
        add(q, "virtio-blk-%s,drive=disk,bootindex=1,werror=stop,rerror=stop", q->bus);
}

static void add_seed(struct composition *q) {
        _cleanup_free_ char *path = text_format("%s/" QEMU_SEED, q->context->directory);

        if (!q->context->seed)
                return;
        add_json(q, "-blockdev",
                 json_pack("{ss ss sb s{ss ss* sb}}", "driver", "raw", "node-name", "seed", "read-only", true,
                           "file", "driver", "file", "filename", path, "read-only", true));
        add(q, "-device");
        add(q, "virtio-blk-%s,drive=seed,serial=cidata", q->bus);
}

static char *base64(const char *text) {
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        size_t size = strlen(text);
        const unsigned char *p = (const unsigned char *)text;
        char *encoded = malloc((size + 2) / 3 * 4 + 1), *end = encoded;

        for (; encoded && size > 0; p += 3) {
                size_t n = size < 3 ? size : 3;
                unsigned group = (unsigned)p[0] << 16 | (n > 1 ? (unsigned)p[1] << 8 : 0) |
                                 (n > 2 ? p[2] : 0);

                *end++ = digits[group >> 18];
                *end++ = digits[group >> 12 & 63];
                *end++ = n > 1 ? digits[group >> 6 & 63] : '=';
                *end++ = n > 2 ? digits[group & 63] : '=';
                size -= n;
        }
        if (encoded)
                *end = '\0';
        return encoded;
}

/* By SMBIOS; microvm has none, and firmware configuration serves there (systemd-creds(1) knows both). */
static void add_credentials(struct composition *q) {
        struct seed_credential credentials[SEED_CREDENTIALS_MAX];
        size_t n = 0;

        if (seed_credentials(q->c, credentials, &n) < 0)
                q->words.failed = true;
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *value = q->pci ? base64(credentials[i].value)
                                                    : escape(credentials[i].value);

                add(q, "%s", q->pci ? "-smbios" : "-fw_cfg");
                if (!value)
                        q->words.failed = true;
                else if (q->pci)
                        add(q, "type=11,value=io.systemd.credential.binary:%s=%s", credentials[i].name,
                            value);
                else
                        add(q, "name=opt/io.systemd.credentials/%s,string=%s", credentials[i].name, value);
                free(credentials[i].value);
        }
}

/* ---- Networks ---- */

/* "7" or "7:8:9", by the option's two forms: a new string, or NULL. QEMU refuses the plural one for a single
 * queue. */
static char *fd_option(const char *one, const char *many, const int *fds, unsigned n) {
        char *text = text_format("%s=%d", n > 1 ? many : one, fds[0]);

        for (unsigned i = 1; i < n && text; i++) {
                char *longer = text_format("%s:%d", text, fds[i]);

                free(text);
                text = longer;
        }
        return text;
}

static void add_interface(struct composition *q, size_t number, const int *vhosts) {
        const struct session_interface *interface = q->context->interfaces[number];
        unsigned queues = interface->queues;
        _cleanup_free_ char *taps = fd_option("fd", "fds", interface->taps, queues);
        _cleanup_free_ char *vhost = vhosts ? fd_option("vhostfd", "vhostfds", vhosts, queues) : NULL;
        _cleanup_free_ char *pci = NULL;

        /* A vector for each direction of each queue, one for the configuration, one for the control queue.
         * The ROM is there to boot from a network, which no VM here does. */
        if (q->pci && queues > 1)
                pci = text_format(",mq=on,vectors=%u,romfile=", 2 * queues + 2);
        else
                pci = strdup(q->pci ? ",romfile=" : queues > 1 ? ",mq=on" : "");
        if (!taps || (vhosts && !vhost) || !pci) {
                q->words.failed = true;
                return;
        }
        add(q, "-netdev");
        add(q, "tap,id=net%zu,%s%s%s", number, taps, vhost ? ",vhost=on," : "", vhost ? vhost : "");
        add(q, "-device");
        add(q, "virtio-net-%s,netdev=net%zu,mac=%s,host_mtu=%u%s", q->bus, number, interface->mac,
            interface->mtu, pci);
}

static void add_interfaces(struct composition *q) {
        const int *vhosts = q->context->vhosts;

        for (size_t i = 0; i < q->context->n_interfaces; i++) {
                add_interface(q, i, vhosts);
                if (vhosts)
                        vhosts += q->context->interfaces[i]->queues;
        }
}

/* ---- Shares ---- */

static void add_9p(struct composition *q, size_t number, const struct configuration_share *share) {
        _cleanup_free_ char *path = escape(share->path);

        add(q, "-fsdev");
        if (!path)
                q->words.failed = true;
        else
                /* "none": files are the user's own, and that a change of owner fails is not the guest's
                 * affair. */
                add(q, "local,id=share%zu,path=%s,security_model=none,multidevs=remap%s", number, path,
                    share->read_only ? ",readonly=on" : "");
        add(q, "-device");
        add(q, "virtio-9p-%s,fsdev=share%zu,mount_tag=%s", q->bus, number, share->tag);
}

static void add_shares(struct composition *q) {
        for (size_t i = 0; i < q->c->n_shares; i++) {
                const struct configuration_share *share = &q->c->shares[i];

                if (share->type == SHARE_9P) {
                        add_9p(q, i, share);
                        continue;
                }
                add(q, "-chardev");
                add(q, "socket,id=" ARGUMENTS_SHARE "%s,fd=%d", share->tag, q->context->shares[i]);
                add(q, "-device");
                add(q, "vhost-user-fs-%s,chardev=" ARGUMENTS_SHARE "%s,tag=%s", q->bus, share->tag,
                    share->tag);
        }
}

/* ---- All of it ---- */

int arguments_compose(char ***ret, const struct configuration *c, const struct arguments_context *context) {
        struct composition composition = { .c = c, .context = context, .pci = c->machine == MACHINE_Q35 };
        struct composition *q = &composition;

        q->bus = q->pci ? "pci" : "device";
        add(q, "%s", context->host->qemu);
        add(q, "-name");
        add(q, "guest=%s,debug-threads=on", context->name);
        add(q, "-no-user-config");
        add(q, "-nodefaults");
        add_pair(q, "-display", "none");
        if (context->confined)
                add_pair(q, "-sandbox",
                         "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
        add_machine(q);
        add_boot(q);
        add_channels(q);
        add_disk(q);
        add_seed(q);
        add_credentials(q);
        add_interfaces(q);
        add_shares(q);
        for (size_t i = 0; i < c->n_extra_arguments; i++)
                add(q, "%s", c->extra_arguments[i]);

        if (composition.words.failed) {
                arguments_free(composition.words.words);
                return -ENOMEM;
        }
        *ret = composition.words.words;
        return 0;
}

void arguments_free(char **arguments) {
        for (char **word = arguments; word && *word; word++)
                free(*word);
        free(arguments);
}

void arguments_freep(char ***arguments) {
        arguments_free(*arguments);
}
