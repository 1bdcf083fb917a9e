/* Processes: who one is, and whether it is still the same. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* pidfd_open(2), CLOEXEC: the fd or -errno. */
int process_open(pid_t pid);
/* pidfd_send_signal(2): 0 or -errno. */
int process_signal(int pidfd, int signal);
/* A Unix socket of that process's (pidfd_getfd(2)), CLOEXEC: our own fd; -ENOENT where `fd` is negative, -ENOTSOCK where
 * it is anything else, or another -errno. */
int process_take_socket(int pidfd, int fd);

/* Field 22 of /proc/PID/stat (ticks since boot): a pid and its start time name one process for the life of the
 * machine's boot. 0 or -errno. */
int process_start_time(pid_t pid, uint64_t *ret);
/* /proc/sys/kernel/random/boot_id, 36 characters. 0 or -errno. */
int process_boot_id(char ret[static 37]);
/* The base name of the program that a process runs (its exe; its comm where exe cannot be read), made printable;
 * "?" when it is gone. */
void process_program(pid_t pid, char *buffer, size_t size);

/* Finds a program: in `directory` when not NULL, else in PATH and then /usr/sbin, /sbin, /usr/local/sbin (which an
 * ordinary user's PATH lacks). A new string or NULL. */
char *process_find_program(const char *name, const char *directory);
/* The directory that holds this process's own executable: a new string, or NULL. */
char *process_own_directory(void);
