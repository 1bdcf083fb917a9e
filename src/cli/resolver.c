/* The resolver: makes a network's DNS the one that this process's programs ask. */
#include "cli/resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"

#define RESOLV_CONF "/etc/resolv.conf"

/*
 * systemd-resolved (through nss-resolve) and nscd answer over Unix sockets, which no network namespace
 * separates: they would answer with the host's names. With something else in the socket's place the C library
 * goes on to DNS.
 */
static const char *const host_resolvers[] = {
        "/run/systemd/resolve/io.systemd.Resolve",
        "/run/nscd/socket",
};

/* A mount lends a file to the new place, and needs its name only until then: it is removed at once. */
static int mount_text(const char *text, const char *target) {
        char path[] = "/tmp/berth-resolv.XXXXXX";
        _cleanup_fd_ int fd = mkostemp(path, O_CLOEXEC);
        int r;

        if (fd < 0)
                return -errno;
        r = fd_write_all(fd, text, strlen(text));
        if (r == 0 && (fchmod(fd, 0644) < 0 || mount(path, target, NULL, MS_BIND, NULL) < 0))
                r = -errno;
        unlink(path);
        return r;
}

int resolver_replace(const char *gateway, const char *domain, struct error *error) {
        _cleanup_free_ char *text = text_format("nameserver %s\nsearch %s\n", gateway, domain);
        int r;

        if (!text)
                return error_set(error, -ENOMEM, "out of memory");
        if (unshare(CLONE_NEWNS) < 0)
                return error_errno(error, -errno, "cannot make a mount namespace");
        /* Mounts made here stay here; those made outside still arrive. */
        if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
                return error_errno(error, -errno, "cannot part the mount namespace from the host's");
        r = mount_text(text, RESOLV_CONF);
        if (r < 0)
                return error_errno(error, r, "cannot replace " RESOLV_CONF);
        for (size_t i = 0; i < ARRAY_SIZE(host_resolvers); i++)
                if (access(host_resolvers[i], F_OK) == 0 &&
                    mount("/dev/null", host_resolvers[i], NULL, MS_BIND, NULL) < 0)
                        return error_errno(error, -errno, "cannot hide the host's resolver %s",
                                           host_resolvers[i]);
        return 0;
}
