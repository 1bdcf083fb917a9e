/* Clock: deadlines, as times of loop_now(). */
#include "cli/vm-clock.h"

#include <limits.h>

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
