/* File descriptors: ownership, clean-up, and the few calls that every program needs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Closes fd when it is >= 0 and keeps errno. Returns -1, for `fd = fd_close(fd)`. */
int fd_close(int fd);
void fd_closep(int *fd);
#define _cleanup_fd_ __attribute__((cleanup(fd_closep)))

/* Closes all of this process's from `from` on but these; -1 among them stands for none. */
void fd_close_others(unsigned from, const int *kept, size_t n);

/* Takes the value and leaves -1. */
static inline int steal_fd(int *fd) {
        int value = *fd;
        *fd = -1;
        return value;
}

/* 0 or -errno. */
int fd_set_nonblock(int fd, bool nonblock);
int fd_set_cloexec(int fd, bool cloexec);
/* F_DUPFD_CLOEXEC at 3 or above: the new fd or -errno. */
int fd_dup(int fd);

/* The whole of it, however many writes that takes, to a blocking fd. 0, or -errno with a part of it written. */
int fd_write_all(int fd, const void *data, size_t size);

/* Opens /dev/null for those of standard input, output and error that the starter closed, lest something else become
 * one of them. 0 or -errno. */
int fd_fill_standard(void);

/* A connected SOCK_STREAM Unix pair, CLOEXEC; both ends non-blocking when asked. 0 or -errno. */
int fd_socketpair(int ret[static 2], bool nonblock);

/* Whoever sends a file descriptor to this Unix socket, or to one accepted from it, gets EPERM (SO_PASSRIGHTS). Before
 * Linux 6.16 this does nothing. */
void fd_refuse_rights(int socket);

/* Listening (backlog SOMAXCONN) and connected SOCK_STREAM Unix sockets, CLOEXEC and non-blocking (listen) or
 * blocking (connect). Paths longer than sun_path are reached through /proc/self/fd of their directory, so any
 * path works. The fd or -errno. fd_listen_unix does not remove what is there: -EADDRINUSE. */
int fd_listen_unix(const char *path, mode_t mode);
int fd_connect_unix(const char *path);

/* How many fds this process has open, for tests. */
size_t fd_count_open(void);
