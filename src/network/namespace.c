#include "network/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"

static int forbidden(int code, struct error *error) {
        char setting[8] = "";
        _cleanup_fd_ int fd = open("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", O_RDONLY | O_CLOEXEC);

        if (code == -ENOSPC)
                return error_set(error, code,
                                 "no further user or network namespaces may be made: raise "
                                 "/proc/sys/user/max_user_namespaces and max_net_namespaces");
        if (fd >= 0 && read(fd, setting, sizeof(setting) - 1) > 0 && setting[0] == '1')
                return error_set(error, code,
                                 "AppArmor forbids unprivileged user namespaces: install Berth's profile for "
                                 "berth-network (see berthd(8)), or set "
                                 "kernel.apparmor_restrict_unprivileged_userns=0");
        return error_errno(error, code,
                           "user namespaces are forbidden to this user (see kernel.unprivileged_userns_clone and "
                           "user.max_user_namespaces, or use system mode)");
}

static int map_ids(uid_t uid, gid_t gid, struct error *error) {
        char map[64];

        snprintf(map, sizeof(map), "0 %u 1\n", uid);
        int r = file_write_in_place("/proc/self/uid_map", map, error);
        if (r < 0)
                return r;
        /* An unprivileged process may map its gid only once it has given up setgroups (user_namespaces(7)). */
        r = file_write_in_place("/proc/self/setgroups", "deny\n", error);
        if (r < 0)
                return r;
        snprintf(map, sizeof(map), "0 %u 1\n", gid);
        return file_write_in_place("/proc/self/gid_map", map, error);
}

static int open_own(bool system, struct namespace *ret, struct error *error) {
        _cleanup_fd_ int network = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        _cleanup_fd_ int user = system ? -1 : open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);

        if (network < 0 || (!system && user < 0))
                return error_errno(error, -errno, "opening the own namespaces below /proc/self/ns");
        ret->network = steal_fd(&network);
        ret->user = steal_fd(&user);
        return 0;
}

int namespace_create(bool system, struct namespace *ret, struct error *error) {
        uid_t uid = geteuid();
        gid_t gid = getegid();

        if (unshare(CLONE_NEWNET | (system ? 0 : CLONE_NEWUSER)) < 0)
                return system ? error_errno(error, -errno, "making a network namespace") : forbidden(-errno, error);
        if (!system) {
                int r = map_ids(uid, gid, error);
                if (r < 0)
                        return r;
        }
        return open_own(system, ret, error);
}

int namespace_enter(struct namespace consume, struct namespace *ret, struct error *error) {
        if ((consume.user >= 0 && setns(consume.user, CLONE_NEWUSER) < 0) ||
            setns(consume.network, CLONE_NEWNET) < 0) {
                int r = error_errno(error, -errno, "entering the network's namespaces");
                namespace_deinit(&consume);
                return r;
        }
        *ret = consume;
        return 0;
}

void namespace_deinit(struct namespace *namespace) {
        namespace->user = fd_close(namespace->user);
        namespace->network = fd_close(namespace->network);
}
