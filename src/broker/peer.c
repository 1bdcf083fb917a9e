#include "broker/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/process.h"

#ifndef SO_PEERGROUPS /* Linux 4.13 */
#define SO_PEERGROUPS 59
#endif

/* The supplementary groups behind a first free place for the primary one. */
static int read_groups(int fd, gid_t **ret, size_t *ret_n) {
        socklen_t size = 32 * sizeof(gid_t);

        for (;;) {
                gid_t *groups = malloc(sizeof(gid_t) + size);

                if (!groups)
                        return -ENOMEM;
                if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups + 1, &size) == 0) {
                        *ret = groups;
                        *ret_n = 1 + size / sizeof(gid_t);
                        return 0;
                }
                free(groups);
                if (errno != ERANGE) /* which says in `size` what it needs */
                        return -errno;
        }
}

int peer_read(int fd, struct peer *ret) {
        struct ucred credentials;
        socklen_t size = sizeof(credentials);
        struct peer peer = PEER_INIT;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
                return -errno;
        int r = read_groups(fd, &peer.groups, &peer.n_groups);
        if (r < 0)
                return r;
        peer.groups[0] = credentials.gid;
        peer.uid = credentials.uid;
        peer.pid = credentials.pid;
        (void)process_start_time(peer.pid, &peer.start_time);
        process_program(peer.pid, peer.program, sizeof(peer.program));
        *ret = peer;
        return 0;
}

void peer_deinit(struct peer *peer) {
        free(peer->groups);
        *peer = PEER_INIT;
}

bool peer_in_group(const struct peer *peer, gid_t gid) {
        for (size_t i = 0; i < peer->n_groups; i++)
                if (peer->groups[i] == gid)
                        return true;
        return false;
}
