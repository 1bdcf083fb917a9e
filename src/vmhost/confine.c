#include "vmhost/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

/*
 * The kernel's interface (Documentation/userspace-api/landlock.rst), written out: the headers of a
 * distribution are often older than the kernel that runs. A right that the kernel does not know is an error
 * there, so they are grouped by the version that brought them.
 */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

#define CREATE_RULESET_VERSION (1U << 0)
#define RULE_PATH_BENEATH 1

#define FS_EXECUTE (1ULL << 0)
#define FS_WRITE_FILE (1ULL << 1)
#define FS_READ_FILE (1ULL << 2)
#define FS_READ_DIR (1ULL << 3)
#define FS_CHANGE_DIR (((1ULL << 13) - 1) & ~((1ULL << 4) - 1)) /* remove and make, of each type */
#define FS_REFER (1ULL << 13) /* version 2: rename and link across directories */
#define FS_TRUNCATE (1ULL << 14) /* version 3 */
#define FS_IOCTL_DEV (1ULL << 15) /* version 5 */
#define NET_TCP ((1ULL << 0) | (1ULL << 1)) /* version 4: bind, connect */
#define SCOPE_ALL ((1ULL << 0) | (1ULL << 1)) /* version 6: abstract Unix sockets, signals */

/* What can be said of a thing that is no directory. */
#define FS_OF_FILES (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

struct ruleset_attributes {
        uint64_t fs;
        uint64_t net;
        uint64_t scoped;
};

struct path_beneath {
        uint64_t access;
        int32_t parent;
} __attribute__((packed));

int confine_abi(void) {
        long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);

        return abi > 0 ? (int)abi : 0;
}

/* All rights of the file system that this version can forbid. */
static uint64_t known_rights(int abi) {
        return FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_READ_DIR | FS_CHANGE_DIR |
               (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0) | (abi >= 5 ? FS_IOCTL_DEV : 0);
}

static uint64_t rights_of(enum confine_access access) {
        switch (access) {
        case CONFINE_READ:
                return FS_READ_FILE | FS_READ_DIR;
        case CONFINE_EXECUTE:
                return FS_READ_FILE | FS_READ_DIR | FS_EXECUTE;
        case CONFINE_WRITE:
                return FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_CHANGE_DIR | FS_REFER | FS_TRUNCATE;
        case CONFINE_DEVICE:
                return FS_READ_FILE | FS_WRITE_FILE | FS_IOCTL_DEV;
        }
        return 0;
}

static int add_rule(int ruleset, const struct confine_rule *rule, uint64_t known, struct error *error) {
        struct stat status;

        _cleanup_fd_ int fd = open(rule->path, O_PATH | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT && rule->optional)
                return 0;
        if (fd < 0 || fstat(fd, &status) < 0)
                return error_errno(error, -errno, "%s", rule->path);

        struct path_beneath beneath = { .access = rights_of(rule->access) & known, .parent = fd };
        if (!S_ISDIR(status.st_mode))
                beneath.access &= FS_OF_FILES;
        if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &beneath, 0) < 0)
                return error_errno(error, -errno, "cannot confine access to %s", rule->path);
        return 0;
}

int confine_prepare(const struct confine_rule *rules, size_t n_rules, struct error *error) {
        int abi = confine_abi();
        struct ruleset_attributes attributes = { .fs = known_rights(abi),
                                                 .net = abi >= 4 ? NET_TCP : 0,
                                                 .scoped = abi >= 6 ? SCOPE_ALL : 0 };
        /* An older kernel takes a shorter struct. */
        size_t size = abi >= 6 ? sizeof(attributes) : abi >= 4 ? 16 : 8;

        if (abi == 0)
                return error_set(error, -EOPNOTSUPP, "this kernel has no Landlock");
        _cleanup_fd_ int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
        if (ruleset < 0)
                return error_errno(error, -errno, "cannot make a Landlock ruleset");
        for (size_t i = 0; i < n_rules; i++) {
                int r = add_rule(ruleset, &rules[i], attributes.fs, error);
                if (r < 0)
                        return r;
        }
        return steal_fd(&ruleset); /* the kernel makes it CLOEXEC */
}

/*
 * With no_new_privs, what is given up here does not come back by exec, for root neither. What is kept lets
 * root's VM use other users' images and shares, within the ruleset.
 */
static int drop_capabilities(void) {
        const uint32_t keep = 1U << CAP_CHOWN | 1U << CAP_DAC_OVERRIDE | 1U << CAP_FOWNER | 1U << CAP_FSETID;
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

        if (syscall(SYS_capget, &header, data) < 0)
                return -errno;
        for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
                data[i].permitted &= i == 0 ? keep : 0;
                data[i].effective = data[i].permitted;
                data[i].inheritable = 0;
        }
        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int confine_enter(int ruleset) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        if (ruleset >= 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
                return -errno;
        return drop_capabilities();
}
