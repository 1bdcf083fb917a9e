#include "arguments.h"

#include <berth/berth.h>
#include <err.h>
#include <stdlib.h>

#include "base/text.h"

unsigned argument_number(const char *what, const char *text, uint64_t max) {
        uint64_t number;

        if (text_parse_u64(text, max, &number) < 0 || number == 0)
                errx(EXIT_FAILURE, "%s must be a number from 1 to %llu, not \"%s\"", what, (unsigned long long)max,
                     text);
        return (unsigned)number;
}

struct berth *argument_connect(const char *path) {
        struct berth *berth;

        if (berth_new(&berth) < 0)
                errx(EXIT_FAILURE, "out of memory");
        if (berth_connect(berth, path, BERTH_CONNECT_NO_START) < 0)
                errx(EXIT_FAILURE, "%s", berth_error(berth));
        return berth;
}
