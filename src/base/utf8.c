#include "base/utf8.h"

size_t utf8_sequence(const char *s, size_t size) {
        const unsigned char *p = (const unsigned char *)s;
        unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte; later ones are 80 to bf */
        size_t n;

        if (size == 0)
                return 0;
        if (p[0] < 0x80)
                return 1;
        if (p[0] >= 0xc2 && p[0] <= 0xdf)
                n = 2;
        else if (p[0] >= 0xe0 && p[0] <= 0xef)
                n = 3;
        else if (p[0] >= 0xf0 && p[0] <= 0xf4)
                n = 4;
        else
                return 0;
        if (n > size)
                return 0;

        if (p[0] == 0xe0)
                low = 0xa0; /* overlong */
        else if (p[0] == 0xed)
                high = 0x9f; /* surrogates */
        else if (p[0] == 0xf0)
                low = 0x90; /* overlong */
        else if (p[0] == 0xf4)
                high = 0x8f; /* beyond U+10FFFF */
        for (size_t i = 1; i < n; i++) {
                if (p[i] < low || p[i] > high)
                        return 0;
                low = 0x80;
                high = 0xbf;
        }
        return n;
}

size_t utf8_encode(uint32_t c, char *ret) {
        if (c < 0x80) {
                ret[0] = (char)c;
                return 1;
        }
        if (c < 0x800) {
                ret[0] = (char)(0xc0 | c >> 6);
                ret[1] = (char)(0x80 | (c & 0x3f));
                return 2;
        }
        if (c < 0x10000) {
                ret[0] = (char)(0xe0 | c >> 12);
                ret[1] = (char)(0x80 | (c >> 6 & 0x3f));
                ret[2] = (char)(0x80 | (c & 0x3f));
                return 3;
        }
        ret[0] = (char)(0xf0 | c >> 18);
        ret[1] = (char)(0x80 | (c >> 12 & 0x3f));
        ret[2] = (char)(0x80 | (c >> 6 & 0x3f));
        ret[3] = (char)(0x80 | (c & 0x3f));
        return 4;
}
