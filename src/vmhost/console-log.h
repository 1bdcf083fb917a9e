/* Console log: the file that QEMU writes the console to, its size, and its end. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CONSOLE_LOG "console.log"
#define CONSOLE_LOG_OLD "console.log.1"

/* Its size in bytes; 0 where there is none. */
uint64_t console_log_size(const char *directory);
/*
 * Moves what is there, of more than `max` bytes the last, into CONSOLE_LOG_OLD, in place of what that held,
 * while QEMU goes on writing. Waits for the copy, so `max` is for the caller to choose with care. On file
 * systems that can cut off a file's beginning (ext4, XFS) no byte is lost; on others those few may be that
 * come between two system calls. 0 or -errno.
 */
int console_log_rotate(const char *directory, uint64_t max);
/* The last bytes of it, at most size: their number, 0 where there is no log. */
size_t console_log_end(const char *directory, char *buffer, size_t size);
