/* Probe: how far a VM is, seen through the forward to its port of ssh. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * The forward accepts on the host whatever the VM does, and only then connects to it. What comes of that
 * tells: an ssh server greets; a guest that has its address but no server yet refuses, and the connection is
 * reset. Where no guest answers ARP the kernel gives up after 3 s (retrans_time and mcast_solicit of arp(7)),
 * which looks the same at its end, and may have begun with an earlier connection than ours. So the address is
 * believed only when one reset is followed at once by another: the kernel would begin its 3 s anew.
 */
enum vm_probe_result {
        VM_PROBE_PENDING, /* wait for vm_probe_fd to be readable, or for the deadline */
        VM_PROBE_NOTHING,
        VM_PROBE_ADDRESS, /* the guest has its address */
        VM_PROBE_SSH, /* and its ssh server greets */
};

struct vm_probe {
        int fd; /* -1: none runs */
        uint64_t begun, deadline; /* loop_now */
        bool refused; /* the one before was reset */
        char greeting[4];
        unsigned used;
};

#define VM_PROBE_INIT ((struct vm_probe){ .fd = -1 })

/* Begins one at 127.0.0.1, in place of any that runs. 0 or -errno. */
int vm_probe_begin(struct vm_probe *probe, uint16_t port);
/* What is known by now. With any result but PENDING the probe has ended. */
enum vm_probe_result vm_probe_step(struct vm_probe *probe);
void vm_probe_end(struct vm_probe *probe);
