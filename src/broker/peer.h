/* Peer: who is at the other end of a socket, taken once, at accept. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct peer {
        uid_t uid;
        pid_t pid;
        gid_t *groups; /* the primary one first */
        size_t n_groups;
        uint64_t start_time; /* of the process: with its pid, who it is; 0 when it is gone already */
        char program[64];
};

#define PEER_INIT ((struct peer){ .uid = (uid_t)-1 })

/* 0, or -errno with nothing to release. */
int peer_read(int fd, struct peer *ret);
void peer_deinit(struct peer *peer);
bool peer_in_group(const struct peer *peer, gid_t gid);
