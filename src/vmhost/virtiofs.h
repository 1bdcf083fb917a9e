/* Virtiofs: a virtiofsd for a shared folder. */
#pragma once

#include "base/error.h"
#include "vmhost/configuration.h"

#define VIRTIOFS_LOG                                                                                         \
        "virtiofsd-%s.log" /* in the VM's directory, by the share's tag: what it says in this run */

/*
 * Starts one and returns a socket that is connected to it, CLOEXEC, for QEMU; or -errno. The daemon is
 * nobody's child and ends when the connection does: with QEMU, or at once where no QEMU comes. `log`
 * (borrowed) takes what it says.
 */
int virtiofs_start(const char *program, const char *directory, const struct configuration_share *share,
                   int log, struct error *error);
