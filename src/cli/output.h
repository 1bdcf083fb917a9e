/* Output: standard output whose reader may have stopped reading. */
#pragma once

#include <limits.h>
#include <stddef.h>

/* How much may be written at once without waiting when poll(2) says that there is room (pipe(7)). */
#define OUTPUT_BLOCK PIPE_BUF

/* Standard output for such writes, behind what stdio holds: to be closed, or -errno. Of a terminal poll's
 * word holds for a single byte, so it is opened anew as one that never waits. */
int output_open(void);

/* Writes all, as fast as it is read. 0; 1 when stop_fd (-1: none) becomes readable before; or -errno. */
int output_write(int fd, const char *data, size_t size, int stop_fd);
