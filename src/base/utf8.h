/* UTF-8: well-formed sequences, and making them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define UTF8_REPLACEMENT 0xfffdU

/* The length of the well-formed sequence (Unicode 15, table 3-7) that s begins with, 0 where there is none
 * within `size` bytes. */
size_t utf8_sequence(const char *s, size_t size);
/* Writes a code point, at most 4 bytes; returns how many. */
size_t utf8_encode(uint32_t code_point, char *ret);
