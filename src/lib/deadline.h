/* A deadline: how long is still left to wait. */
#pragma once

#include <stdint.h>

/* On CLOCK_MONOTONIC, in milliseconds; negative: never. */
int64_t deadline_in(int milliseconds);
/* What is left, for poll(2): -1 when it is never, 0 when it has passed. */
int deadline_left(int64_t deadline);
