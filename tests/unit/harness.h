/* What every unit test program shares: cmocka, its main, and the check for leaked file descriptors. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

/* Runs the tests and checks that as many file descriptors are open after them as before. Returns main's
 * value. */
int harness_run(const struct CMUnitTest *tests, size_t n);

#define HARNESS_MAIN(...)                                                                                    \
        int main(void) {                                                                                     \
                static const struct CMUnitTest tests[] = { __VA_ARGS__ };                                    \
                return harness_run(tests, sizeof(tests) / sizeof(tests[0]));                                 \
        }

/* A connected TCP socket whose last close takes an hour, while the other end stays open. */
int harness_make_stubborn_socket(int *ret_other_end);
/* Sends a byte, a `{`, with a descriptor, which is consumed. */
void harness_pass_fd(int socket, int consume_fd);

/* Waits until a process waits for something; false where it is not there any more, or not reaped. */
bool harness_wait_until_asleep(pid_t pid);

/* A new directory in TMPDIR or /tmp; to be given to harness_remove_directory, which also frees the path. */
char *harness_make_directory(void);
void harness_remove_directory(char *path);
