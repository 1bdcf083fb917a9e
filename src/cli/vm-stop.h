/* Stop: ending a VM, and waiting for its end. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "cli/session.h"
#include "cli/vm-directory.h"

struct vm_stop_order {
        bool force; /* at once, or after a stop that takes too long */
        unsigned timeout_s; /* the budget of a graceful one; 0: as the VM's configuration says */
        bool no_wait; /* return when it is on its way */
        bool quiet; /* tell nothing meanwhile */
};

/*
 * Stops a VM, one without a vmhost too, which gets one for it. 1 when it has ended, 0 when there was nothing
 * to stop, or -errno. *ret_end is the record of its end, a new reference, or NULL where there is none (yet).
 */
int vm_stop(struct session *session, const struct vm *vm, const struct vm_stop_order *order,
            json_t **ret_end);

/* The record of the last end, a new reference, or NULL. */
json_t *vm_last_end(const struct vm *vm);
