/* VM views: what is known of a VM, as people read it. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "cli/view.h"

/* "340 ms", "12 s", "3 min 5 s", "2 h 10 min", "5 d 3 h" */
char *vm_view_duration(int64_t milliseconds, char buffer[static VIEW_TEXT_SIZE]);
/* "2024-05-01 13:05:09" of milliseconds since 1970, in local time. */
char *vm_view_time(int64_t milliseconds, char buffer[static VIEW_TEXT_SIZE]);

#define VM_VIEW_LINE_SIZE 256

/* Of an object of vm_survey, or a vmhost's answer: "running", "stopping: acpi, 12 s left", "io-error: disk
 * full", "stopped", "failed"... */
char *vm_view_state(const json_t *vm, char buffer[static VM_VIEW_LINE_SIZE]);
/* Of an end record: "the guest shut itself down (after 3 min 5 s)". */
char *vm_view_end(const json_t *end, char buffer[static VM_VIEW_LINE_SIZE]);
/* The exit status that an end record stands for: 0 where the guest or a stop ended it, else QEMU's own, the
 * signal's and 128, or 1. */
int vm_view_status(const json_t *end);
/* All addresses, separated by ", ". */
char *vm_view_addresses(const json_t *vm, char buffer[static VM_VIEW_LINE_SIZE]);
