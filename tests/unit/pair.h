/* Pair: a wire, and the other end of its socket (blocking), to be spoken to by hand. */
#pragma once

#include <stddef.h>

#include "wire/wire.h"

struct pair {
        struct wire *wire;
        int peer;
};

/* cmocka's setup and teardown: *state is the pair. */
int pair_setup(void **state);
int pair_teardown(void **state);

/* The peer sends bytes in one call, with n_fds copies of fd. */
void pair_put_copies(struct pair *pair, const char *data, size_t size, int fd, size_t n_fds);
/* With n_fds copies of /dev/null. */
void pair_put_bytes(struct pair *pair, const char *data, size_t size, size_t n_fds);
void pair_put(struct pair *pair, const char *text, size_t n_fds);

/* The wire's next message is {KEY: ...} and has that many fds. */
void pair_expect(struct pair *pair, const char *key, size_t n_fds);
/* The next result, which is no message; returns error's text. */
const char *pair_expect_result(struct pair *pair, int result);

/* A body whose one member is a text of that many bytes, to be released. */
json_t *pair_make_body(size_t text_size);

#define PAIR_TEST(f) cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)
