/* cli/vmm: the arguments that each VMM gets. */
#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/vmm.h"

#define PCI0 "-device virtio-net-pci,netdev=berth0,mac={net0.mac},host_mtu={net0.mtu}"

static const struct {
        const char *command; /* words separated by one blank */
        unsigned queues[3]; /* 0 ends them */
        bool vhost;
        const char *result; /* NULL: -EINVAL */
} cases[] = {
        { "qemu-system-x86_64 -m 1G",
          { 1 },
          false,
          "qemu-system-x86_64 -m 1G -netdev tap,id=berth0,fd={net0.fd} " PCI0 },
        { "/usr/bin/qemu-system-aarch64 -nic none",
          { 1 },
          true,
          "/usr/bin/qemu-system-aarch64 -nic none "
          "-netdev tap,id=berth0,fd={net0.fd},vhost=on,vhostfd={net0.vhost_fd} " PCI0 },
        { "qemu-kvm",
          { 4 },
          false,
          "qemu-kvm -netdev tap,id=berth0,fds={net0.fds} " PCI0 ",mq=on,vectors=10" },
        { "kvm",
          { 2 },
          true,
          "kvm -netdev tap,id=berth0,fds={net0.fds},vhost=on,vhostfds={net0.vhost_fds} " PCI0
          ",mq=on,vectors=6" },
        { "qemu-system-x86_64",
          { 1, 1 },
          false,
          "qemu-system-x86_64 -netdev tap,id=berth0,fd={net0.fd} " PCI0 " -netdev tap,id=berth1,fd={net1.fd} "
          "-device virtio-net-pci,netdev=berth1,mac={net1.mac},host_mtu={net1.mtu}" },
        { "qemu-system-x86_64 -M microvm -m 1G",
          { 2 },
          false,
          "qemu-system-x86_64 -M microvm -m 1G -netdev tap,id=berth0,fds={net0.fds} "
          "-device virtio-net-device,netdev=berth0,mac={net0.mac},host_mtu={net0.mtu},mq=on" },
        { "qemu-system-x86_64 --machine microvm,accel=kvm,pcie=on",
          { 1 },
          false,
          "qemu-system-x86_64 --machine microvm,accel=kvm,pcie=on -netdev tap,id=berth0,fd={net0.fd} " PCI0 },
        { "qemu-system-x86_64 -machine accel=tcg,type=microvm",
          { 1 },
          false,
          "qemu-system-x86_64 -machine accel=tcg,type=microvm -netdev tap,id=berth0,fd={net0.fd} "
          "-device virtio-net-device,netdev=berth0,mac={net0.mac},host_mtu={net0.mtu}" },
        { "qemu-system-x86_64 -machine microvm -machine pcie=on",
          { 1 },
          false,
          "qemu-system-x86_64 -machine microvm -machine pcie=on -netdev tap,id=berth0,fd={net0.fd} " PCI0 },
        { "qemu-system-x86_64 -M microvm -M q35",
          { 1 },
          false,
          "qemu-system-x86_64 -M microvm -M q35 -netdev tap,id=berth0,fd={net0.fd} " PCI0 },
        { "qemu-system-s390x",
          { 2 },
          false,
          "qemu-system-s390x -netdev tap,id=berth0,fds={net0.fds} "
          "-device virtio-net-ccw,netdev=berth0,mac={net0.mac},host_mtu={net0.mtu},mq=on" },

        { "cloud-hypervisor --kernel k",
          { 1 },
          true,
          "cloud-hypervisor --kernel k --net fd={net0.fd},mac={net0.mac}" },
        { "cloud-hypervisor --net tap=tap0 --kernel k",
          { 2, 1 },
          false,
          "cloud-hypervisor --net fd=[{net0.fd_list}],mac={net0.mac},num_queues=4 "
          "fd={net1.fd},mac={net1.mac} "
          "tap=tap0 --kernel k" },

        { "crosvm run --mem 512 vmlinux",
          { 1, 1 },
          false,
          "crosvm run --net tap-fd={net0.fd},mac={net0.mac} --net tap-fd={net1.fd},mac={net1.mac} --mem 512 "
          "vmlinux" },
        { "crosvm --log-level debug run vmlinux",
          { 1 },
          false,
          "crosvm --log-level debug run --net tap-fd={net0.fd},mac={net0.mac} vmlinux" },
        { "crosvm run vmlinux", { 2 }, false, NULL },
        { "crosvm stop sock", { 1 }, false, NULL },
};

static void split(struct words *words, const char *line) {
        _cleanup_free_ char *copy = strdup(line);
        char *rest = copy;

        while (rest) {
                const char *word = strsep(&rest, " ");

                assert_int_equal(words_insert(words, words->n_words, &word, 1), 0);
        }
}

static void test_extend(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(words_deinit) struct words words = { 0 }, expected = { 0 };
                const struct vmm *vmm;
                struct error error = ERROR_INIT;
                size_t n = 0;
                int r;

                split(&words, cases[i].command);
                while (n < 3 && cases[i].queues[n])
                        n++;
                vmm = vmm_find(words.words[0]);
                assert_non_null(vmm);
                r = vmm_extend(vmm, &words, cases[i].queues, n, cases[i].vhost, &error);
                if (!cases[i].result) {
                        assert_int_equal(r, -EINVAL);
                        assert_true(error.text[0]);
                        continue;
                }
                assert_int_equal(r, 0);
                split(&expected, cases[i].result);
                assert_int_equal(words.n_words, expected.n_words);
                for (size_t j = 0; j < words.n_words; j++)
                        assert_string_equal(words.words[j], expected.words[j]);
                assert_null(words.words[words.n_words]);
        }
}

static void test_unknown(void **state) {
        assert_null(vmm_find("firecracker"));
        assert_null(vmm_find("qemu-img"));
        assert_null(vmm_find("/qemu-system-x86_64/ls"));
        assert_null(vmm_find(""));
}

static void test_print(void **state) {
        static const char *const words[] = { "a", "b c", "", "it's", "{net0.fd}", "x=1,y:/z" };
        _cleanup_(words_deinit) struct words command = { 0 };
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);

        assert_int_equal(words_insert(&command, 0, words, ARRAY_SIZE(words)), 0);
        words_print(&command, out);
        fclose(out);
        assert_string_equal(text, "a 'b c' '' 'it'\\''s' '{net0.fd}' x=1,y:/z\n");
}

HARNESS_MAIN(cmocka_unit_test(test_extend), cmocka_unit_test(test_unknown), cmocka_unit_test(test_print))
