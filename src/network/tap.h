/* Tap: the kernel's virtual Ethernet device, one file descriptor per queue. */
#pragma once

#include <stddef.h>

#include "base/error.h"

#define TAP_QUEUES_MAX 8
/* struct virtio_net_hdr_v1 (virtio 1.2, section 5.1.6): what every VMM that speaks virtio 1 expects. */
#define TAP_VNET_HEADER_SIZE 12

/* Whether /dev/net/tun can be used, with a text that says what to do if not. 0 or -errno. */
int tap_check(struct error *error);

/*
 * Makes a tap in this process's network namespace, with vnet headers and all offloads on, and fills `ret` with a CLOEXEC,
 * non-blocking fd for each queue. It is gone with the last of them. 0 or -errno with nothing made (-EBUSY: the name is
 * in use).
 */
int tap_open(const char *name, size_t queues, int ret[static TAP_QUEUES_MAX], struct error *error);
