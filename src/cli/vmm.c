/* VMMs: the arguments with which those that are known take an interface. */
#include "cli/vmm.h"

#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

struct vmm {
        bool (*matches)(const char *base_name);
        int (*extend)(struct words *command, const unsigned *queues, size_t n_networks, bool vhost,
                      struct error *error);
};

/* ---- QEMU ---- */

static bool is_qemu(const char *name) {
        return text_starts_with(name, "qemu-system-") || text_equal(name, "qemu-kvm") ||
               text_equal(name, "kvm");
}

/*
 * How QEMU's machine attaches virtio devices: PCI but for microvm, which has a bus of its own unless pcie=on,
 * and for s390x, which has channels. Later -machine options add to earlier ones.
 */
static const char *qemu_device(const struct words *command) {
        bool microvm = false, pcie = false;

        if (strstr(command->words[0], "qemu-system-s390x"))
                return "virtio-net-ccw";
        for (size_t i = 1; i + 1 < command->n_words; i++) {
                const char *word = command->words[i] + text_starts_with(command->words[i], "--");
                _cleanup_free_ char *value = NULL;
                char *rest, *part;

                if (!text_equal(word, "-M") && !text_equal(word, "-machine"))
                        continue;
                value = strdup(command->words[i + 1]);
                rest = value;
                for (bool first = true; rest && (part = strsep(&rest, ",")); first = false) {
                        if (text_starts_with(part, "type="))
                                microvm = text_equal(part + 5, "microvm");
                        else if (first && !strchr(part, '='))
                                microvm = text_equal(part, "microvm");
                        else if (text_starts_with(part, "pcie="))
                                pcie = text_equal(part + 5, "on");
                }
        }
        return microvm && !pcie ? "virtio-net-device" : "virtio-net-pci";
}

static int qemu_extend(struct words *command, const unsigned *queues, size_t n_networks, bool vhost,
                       struct error *error) {
        const char *device = qemu_device(command);
        bool pci = text_equal(device, "virtio-net-pci");
        int r;

        for (size_t i = 0; i < n_networks; i++) {
                bool many = queues[i] > 1;
                _cleanup_free_ char *vhost_part = NULL, *queue_part = NULL;

                /* The plural forms are for more than one queue only: QEMU refuses to mix them. */
                if (vhost)
                        vhost_part = text_format(",vhost=on,%s={net%zu.%s}", many ? "vhostfds" : "vhostfd", i,
                                                 many ? "vhost_fds" : "vhost_fd");
                /* A vector for each direction of each queue, one for the configuration, one for the control
                 * queue. */
                if (many && pci)
                        queue_part = text_format(",mq=on,vectors=%u", 2 * queues[i] + 2);
                else if (many)
                        queue_part = text_format(",mq=on");
                if ((vhost && !vhost_part) || (many && !queue_part))
                        return -ENOMEM;

                r = words_append(command, "-netdev");
                if (r == 0)
                        r = words_append(command, "tap,id=berth%zu,%s={net%zu.%s}%s", i, many ? "fds" : "fd",
                                         i, many ? "fds" : "fd", vhost_part ? vhost_part : "");
                if (r == 0)
                        r = words_append(command, "-device");
                if (r == 0)
                        r = words_append(command,
                                         "%s,netdev=berth%zu,mac={net%zu.mac},host_mtu={net%zu.mtu}%s",
                                         device, i, i, i, queue_part ? queue_part : "");
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- Cloud Hypervisor ---- */

static bool is_cloud_hypervisor(const char *name) {
        return text_equal(name, "cloud-hypervisor") || text_equal(name, "cloud-hypervisor-static");
}

/* --net takes any number of values but may stand only once: ours go behind one that is there already. */
static int cloud_hypervisor_extend(struct words *command, const unsigned *queues, size_t n_networks,
                                   bool vhost, struct error *error) {
        size_t at = 1;
        int r = 0;

        while (at < command->n_words && !text_equal(command->words[at], "--net"))
                at++;
        if (at == command->n_words)
                r = words_append(command, "--net");
        at++;
        for (size_t i = 0; r == 0 && i < n_networks; i++) {
                _cleanup_free_ char *value = NULL;
                const char *word;

                /* It counts queues by direction. */
                if (queues[i] > 1)
                        value = text_format("fd=[{net%zu.fd_list}],mac={net%zu.mac},num_queues=%u", i, i,
                                            2 * queues[i]);
                else
                        value = text_format("fd={net%zu.fd},mac={net%zu.mac}", i, i);
                word = value;
                r = value ? words_insert(command, at + i, &word, 1) : -ENOMEM;
        }
        return r;
}

/* ---- crosvm ---- */

static bool is_crosvm(const char *name) {
        return text_equal(name, "crosvm");
}

static int crosvm_extend(struct words *command, const unsigned *queues, size_t n_networks, bool vhost,
                         struct error *error) {
        size_t at = 1;
        int r = 0;

        while (at < command->n_words && !text_equal(command->words[at], "run"))
                at++;
        if (at == command->n_words)
                return error_set(error, -EINVAL, "crosvm takes networks only with its command `run`");
        at++;
        for (size_t i = 0; r == 0 && i < n_networks; i++) {
                _cleanup_free_ char *value = text_format("tap-fd={net%zu.fd},mac={net%zu.mac}", i, i);
                const char *words[] = { "--net", value };

                /* It opens further queues itself, by the tap's name, which is in another namespace. */
                if (queues[i] > 1)
                        return error_set(error, -EINVAL, "crosvm takes one queue by file descriptor, not %u",
                                         queues[i]);
                r = value ? words_insert(command, at + 2 * i, words, 2) : -ENOMEM;
        }
        return r;
}

static const struct vmm vmms[] = {
        { is_qemu, qemu_extend },
        { is_cloud_hypervisor, cloud_hypervisor_extend },
        { is_crosvm, crosvm_extend },
};

const struct vmm *vmm_find(const char *program) {
        const char *slash = strrchr(program, '/');

        for (size_t i = 0; i < ARRAY_SIZE(vmms); i++)
                if (vmms[i].matches(slash ? slash + 1 : program))
                        return &vmms[i];
        return NULL;
}

int vmm_extend(const struct vmm *vmm, struct words *command, const unsigned *queues, size_t n_networks,
               bool vhost, struct error *error) {
        int r = vmm->extend(command, queues, n_networks, vhost, error);

        return r == -ENOMEM ? error_set(error, r, "out of memory") : r;
}
