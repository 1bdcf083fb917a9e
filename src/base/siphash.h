/* SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed 64-bit hash of short inputs. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const uint8_t key[static 16], const void *data, size_t size);
