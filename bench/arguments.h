/* Arguments of the instruments: what they have in common. Each function explains itself and exits where it fails. */
#pragma once

#include <stdint.h>

struct berth;

/* A decimal number from 1 to max; `what` names it in the complaint. */
unsigned argument_number(const char *what, const char *text, uint64_t max);
/* A connection to the broker that listens at `path`, to be freed. */
struct berth *argument_connect(const char *path);
