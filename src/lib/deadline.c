/* A deadline: how long is still left to wait. */
#include "lib/deadline.h"

#include <time.h>

static int64_t now_ms(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t deadline_in(int milliseconds) {
        return milliseconds < 0 ? -1 : now_ms() + milliseconds;
}

int deadline_left(int64_t deadline) {
        int64_t left;

        if (deadline < 0)
                return -1;
        left = deadline - now_ms();
        return left > 0 ? (int)left : 0;
}
