/* Log file: what a program says on its standard error, kept within bounds while the program runs. */
#pragma once

#include <stdint.h>

#include "vmhost/configuration.h"

#define LOG_FILE_VMHOST "vmhost.log"
#define LOG_FILE_MAX (8ULL << 20) /* bytes */
#define LOG_FILE_KEPT (256 * 1024)

/*
 * Where the file is longer than `max` bytes, leaves the last LOG_FILE_KEPT, from the beginning of a line on.
 * Whoever writes it appends (O_APPEND) and is not disturbed; what comes just then may be lost. 0 or -errno.
 */
int log_file_bound(const char *directory, const char *name, uint64_t max);

/* So all that a VM's programs say, now and then while it runs: a guest can make QEMU complain, and so have
 * vmhost write, without end. The configuration may be NULL: then those of its shares are left out. */
void log_file_bound_all(const char *directory, const struct configuration *configuration);
