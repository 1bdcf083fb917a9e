/* The controller of a VM that QEMU runs. */
#pragma once

#include "loop/loop.h"
#include "vmhost/configuration.h"
#include "vmhost/controller.h"

/*
 * `configuration` is borrowed and outlives the controller and any thread; NULL: it could not be read, and
 * then the controller can adopt a run but start none. `preferred_ssh_port` is the port that the VM had
 * before, 0 for none.
 */
int controller_qemu_new(struct controller **ret, struct loop *loop, const char *directory, const char *name,
                        const struct configuration *configuration, uint16_t preferred_ssh_port,
                        const struct controller_listener *listener, void *data, struct error *error);
