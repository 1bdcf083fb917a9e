/* Claim: the right to be a VM's one vmhost, and the files that say so. */
#pragma once

#include <sys/stat.h>

#include "base/error.h"

#define CLAIM_LOCK "vmhost.lock"
#define CLAIM_PID "vmhost.pid"
#define CLAIM_SOCKET "vmhost.sock"

/*
 * The lock is what counts: the pid file and the socket are for others to find us by, and are removed only
 * where they are still the very files that were made here. The lock's file stays, for a lock on a file that
 * is gone excludes nobody.
 */
struct claim {
        char *directory;
        int lock; /* owned */
        struct claim_file {
                char *path;
                dev_t device; /* of the file as it was made; inode 0: none was */
                ino_t inode;
        } pid, socket;
};

#define CLAIM_INIT ((struct claim){ .lock = -1 })

/* Takes the lock: 0, -EALREADY with a text that says who has it, or another -errno. */
int claim_take(struct claim *claim, const char *directory, const char *name, struct error *error);
/*
 * Writes the pid file (decimal, no newline, 0644), then listens on the socket (0600): its fd, or -errno. A
 * socket that somebody listens on, without the lock, is -EADDRINUSE; any other of that name is stale and
 * replaced.
 */
int claim_publish(struct claim *claim, struct error *error);
/*
 * Others remove what they take for stale, and a vmhost without its socket is out of reach for ever. Makes
 * anew of pid file and socket what is not there: 1 with a new listening fd in *ret_listening, 0 where the
 * socket is there, or -errno.
 */
int claim_restore(struct claim *claim, int *ret_listening, struct error *error);
/* Removes what is ours. The lock goes with claim_deinit. */
void claim_withdraw(struct claim *claim);
void claim_deinit(struct claim *claim);
