/* What a fuzz target is: one function, and findings abort. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Called by libFuzzer, or by replay.c, with one input. Always returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An assert that says what was expected, for the properties that a target checks beside not crashing. */
#define EXPECT(condition)                                                                                    \
        do {                                                                                                 \
                if (!(condition)) {                                                                          \
                        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);              \
                        abort();                                                                             \
                }                                                                                            \
        } while (0)
