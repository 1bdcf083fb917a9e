/* Linkage: which shared libraries a program was linked with. */
#pragma once

#include <stdbool.h>

/* Whether a 64-bit program of this machine's byte order needs a library whose name begins with `prefix`. What
 * cannot be read needs none. */
bool linkage_needs(const char *path, const char *prefix);
