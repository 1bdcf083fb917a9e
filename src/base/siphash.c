/* SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed 64-bit hash of short inputs. */
#include "base/siphash.h"

/* Names as in the paper: four words of state, two rounds per word of input ("c"), four at the end ("d"). */
struct state {
        uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t x, unsigned bits) {
        return x << bits | x >> (64 - bits);
}

static uint64_t load_le(const uint8_t *p, size_t n) {
        uint64_t x = 0;

        for (size_t i = 0; i < n; i++)
                x |= (uint64_t)p[i] << (8 * i);
        return x;
}

static void rounds(struct state *s, int n) {
        while (n-- > 0) {
                s->v0 += s->v1;
                s->v2 += s->v3;
                s->v1 = rotate(s->v1, 13) ^ s->v0;
                s->v3 = rotate(s->v3, 16) ^ s->v2;
                s->v0 = rotate(s->v0, 32);

                s->v2 += s->v1;
                s->v0 += s->v3;
                s->v1 = rotate(s->v1, 17) ^ s->v2;
                s->v3 = rotate(s->v3, 21) ^ s->v0;
                s->v2 = rotate(s->v2, 32);
        }
}

static void absorb(struct state *s, uint64_t word) {
        s->v3 ^= word;
        rounds(s, 2);
        s->v0 ^= word;
}

uint64_t siphash(const uint8_t key[static 16], const void *data, size_t size) {
        const uint8_t *p = data;
        uint64_t k0 = load_le(key, 8), k1 = load_le(key + 8, 8);
        struct state s = {
                /* "somepseudorandomlygeneratedbytes" */
                .v0 = k0 ^ 0x736f6d6570736575,
                .v1 = k1 ^ 0x646f72616e646f6d,
                .v2 = k0 ^ 0x6c7967656e657261,
                .v3 = k1 ^ 0x7465646279746573,
        };
        size_t left = size;

        for (; left >= 8; left -= 8, p += 8)
                absorb(&s, load_le(p, 8));
        /* The last word: what is left, and the size modulo 256 in the top byte. */
        absorb(&s, load_le(p, left) | (uint64_t)size << 56);
        s.v2 ^= 0xff;
        rounds(&s, 4);
        return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
