/* Memory: clean-up attributes and hand-over. */
#pragma once

#include <stddef.h>
#include <stdlib.h>

static inline void freep(void *p) {
        free(*(void **)p);
}
#define _cleanup_free_ __attribute__((cleanup(freep)))
#define _cleanup_(f) __attribute__((cleanup(f)))

#define steal_ptr(p)                                                                                         \
        ({                                                                                                   \
                __typeof__(p) *_pp = &(p);                                                                   \
                __typeof__(p) _value = *_pp;                                                                 \
                *_pp = NULL;                                                                                 \
                _value;                                                                                      \
        })

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* From a member's address to its struct; the member's type is checked. */
#define container_of(p, type, member)                                                                        \
        ({                                                                                                   \
                const __typeof__(((type *)0)->member) *_m = (p);                                             \
                (type *)((char *)_m - offsetof(type, member));                                               \
        })
