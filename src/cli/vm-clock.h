/* Clock: deadlines, as times of loop_now(). */
#pragma once

#include <stdint.h>

/* The time that is so many milliseconds from now. */
uint64_t vm_clock_in_ms(uint64_t milliseconds);
/* What poll(2) is to wait until a deadline: milliseconds, rounded up; 0 when it has passed, -1 for
 * UINT64_MAX. */
int vm_clock_left_ms(uint64_t deadline);

/* The time of day: milliseconds since 1970. */
int64_t vm_clock_wall_ms(void);
