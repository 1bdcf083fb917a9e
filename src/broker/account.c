#include "broker/account.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/text.h"

#define RECORD_SIZE (64 * 1024) /* a group's record holds all its members */

int account_find(const char *name, bool group, unsigned *ret) {
        uint64_t number;

        /* The largest number means "none" to the kernel. */
        if (text_parse_u64(name, UINT32_MAX - 1, &number) == 0) {
                *ret = (unsigned)number;
                return 0;
        }

        _cleanup_free_ char *record = malloc(RECORD_SIZE);
        if (!record)
                return -ENOMEM;

        int r;
        if (group) {
                struct group entry, *found = NULL;

                r = getgrnam_r(name, &entry, record, RECORD_SIZE, &found);
                if (found)
                        *ret = found->gr_gid;
                else if (r == 0)
                        r = ENOENT;
        } else {
                struct passwd entry, *found = NULL;

                r = getpwnam_r(name, &entry, record, RECORD_SIZE, &found);
                if (found)
                        *ret = found->pw_uid;
                else if (r == 0)
                        r = ENOENT;
        }
        return -r;
}
