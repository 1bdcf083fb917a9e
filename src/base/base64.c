#include "base/base64.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *data, size_t size) {
        const unsigned char *in = data;
        char *text = malloc((size + 2) / 3 * 4 + 1), *out = text;

        if (!text)
                return NULL;
        for (size_t i = 0; i < size; i += 3) {
                size_t n = size - i;
                uint32_t bits = (uint32_t)in[i] << 16 | (n > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                                (n > 2 ? in[i + 2] : 0);

                *out++ = alphabet[bits >> 18];
                *out++ = alphabet[bits >> 12 & 63];
                *out++ = n > 1 ? alphabet[bits >> 6 & 63] : '=';
                *out++ = n > 2 ? alphabet[bits & 63] : '=';
        }
        *out = '\0';
        return text;
}

/* The six bits of a character, or -1. */
static int digit(char c) {
        const char *place = c ? strchr(alphabet, c) : NULL;

        return place ? (int)(place - alphabet) : -1;
}

int base64_decode(const char *text, char **ret, size_t *ret_size) {
        size_t length = strlen(text), padding = 0;

        if (length % 4 != 0)
                return -EINVAL;
        while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
                padding++;

        char *data = malloc(length / 4 * 3 + 1), *out = data;
        if (!data)
                return -ENOMEM;
        for (size_t i = 0; i < length; i += 4) {
                uint32_t bits = 0;

                for (size_t j = i; j < i + 4; j++) {
                        int value = j < length - padding ? digit(text[j]) : 0;

                        if (value < 0) {
                                free(data);
                                return -EINVAL;
                        }
                        bits = bits << 6 | (uint32_t)value;
                }
                *out++ = (char)(bits >> 16);
                *out++ = (char)(bits >> 8);
                *out++ = (char)bits;
        }
        *ret_size = length / 4 * 3 - padding;
        data[*ret_size] = '\0';
        *ret = data;
        return 0;
}
