/* Account: the number of a user or a group. */
#pragma once

#include <stdbool.h>

/* By name, or by a decimal number, which need not have a name. 0, -ENOENT or another -errno. May ask a
 * directory service, so not for the path of every request. */
int account_find(const char *name, bool group, unsigned *ret);
