/* Progress: the steps of a VM's start, with the time that each took. */
#include "cli/vm-progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "loop/loop.h"

static const struct {
        const char *name, *text;
} steps[VM_STEP_COUNT] = {
        [VM_STEP_NETWORK] = { "network", "network" }, [VM_STEP_FORWARDS] = { "forwards", "forwards" },
        [VM_STEP_QEMU] = { "qemu", "disk, QEMU" },    [VM_STEP_FIRMWARE] = { "firmware", "firmware" },
        [VM_STEP_KERNEL] = { "kernel", "kernel" },    [VM_STEP_ADDRESS] = { "address", "address" },
        [VM_STEP_SSH] = { "ssh", "ssh ready" },       [VM_STEP_BOOTED] = { "booted", "booted" },
};

void vm_progress_begin(struct vm_progress *progress, bool shown) {
        progress->shown = shown;
        progress->begun = progress->last = loop_now();
        for (size_t i = 0; i < VM_STEP_COUNT; i++)
                progress->reached_ms[i] = -1;
}

void vm_progress_reach(struct vm_progress *progress, enum vm_step step) {
        uint64_t now = loop_now();

        if (vm_progress_has(progress, step))
                return;
        progress->reached_ms[step] = (int64_t)(now - progress->begun) / 1000;
        if (progress->shown)
                fprintf(stderr, "  %-12s%7.2f s\n", steps[step].text, (double)(now - progress->last) / 1e6);
        progress->last = now;
}

bool vm_progress_has(const struct vm_progress *progress, enum vm_step step) {
        return progress->reached_ms[step] >= 0;
}

json_t *vm_progress_describe(const struct vm_progress *progress) {
        json_t *object = json_object();

        for (size_t i = 0; object && i < VM_STEP_COUNT; i++)
                if (progress->reached_ms[i] >= 0)
                        json_object_set_new(object, steps[i].name, json_integer(progress->reached_ms[i]));
        return object;
}

static bool has(const char *text, size_t size, const char *word) {
        return memmem(text, size, word, strlen(word));
}

void vm_progress_look_at_console(struct vm_progress *progress, const char *text, size_t size) {
        /* What the firmwares that QEMU has, and the usual boot loaders, print. */
        static const char *const firmwares[] = { "SeaBIOS", "BdsDxe",   "UEFI",        "iPXE",
                                                 "GRUB",    "SYSLINUX", "Booting from" };
        static const char *const kernels[] = { "Linux version", "Decompressing Linux", "] ",
                                               "login:", "systemd" };
        bool firmware = false;

        if (size == 0)
                return;
        for (size_t i = 0; i < ARRAY_SIZE(firmwares); i++)
                firmware = firmware || has(text, size, firmwares[i]);
        if (firmware)
                vm_progress_reach(progress, VM_STEP_FIRMWARE);
        for (size_t i = 0; i < ARRAY_SIZE(kernels); i++)
                if (has(text, size, kernels[i]))
                        firmware = false;
        if (!firmware)
                vm_progress_reach(progress, VM_STEP_KERNEL);
}
