/* Clock: deadlines, as times of loop_now(). */
#include "cli/vm-clock.h"

#include <limits.h>
#include <time.h>

#include "loop/loop.h"

uint64_t vm_clock_in_ms(uint64_t milliseconds) {
        return loop_now() + milliseconds * 1000;
}

int vm_clock_left_ms(uint64_t deadline) {
        uint64_t now, left;

        if (deadline == UINT64_MAX)
                return -1;
        now = loop_now();
        if (deadline <= now)
                return 0;
        left = (deadline - now + 999) / 1000;
        return left > INT_MAX ? INT_MAX : (int)left;
}

int64_t vm_clock_wall_ms(void) {
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
