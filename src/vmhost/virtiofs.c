#include "vmhost/virtiofs.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "vmhost/linkage.h"
#include "vmhost/spawn.h"

/*
 * The daemon takes a listening socket. We are connected to it before it runs: the connection waits in the
 * socket's queue, and its end is seen there as well if nobody comes to use it. The socket's name is not
 * needed after that.
 */
static int make_sockets(const char *directory, const char *tag, int *ret_listener, struct error *error) {
        _cleanup_free_ char *path = text_format("%s/virtiofs-%s.sock", directory, tag);

        if (!path)
                return error_set(error, -ENOMEM, "out of memory");
        unlink(path);
        _cleanup_fd_ int listener = fd_listen_unix(path, 0600);
        if (listener < 0)
                return error_errno(error, listener, "cannot listen at %s", path);
        int connection = fd_connect_unix(path);
        unlink(path);
        if (connection < 0)
                return error_errno(error, connection, "cannot connect to %s", path);
        int r = fd_set_nonblock(listener, false);
        if (r < 0) {
                fd_close(connection);
                return error_errno(error, r, "cannot use %s", path);
        }
        *ret_listener = steal_fd(&listener);
        return connection;
}

int virtiofs_start(const char *program, const char *directory, const struct configuration_share *share,
                   int log, struct error *error) {
        _cleanup_fd_ int listener = -1;

        /* QEMU's own, in C, which is the one that needs GLib, gives up its groups; that takes root. */
        if (geteuid() != 0 && linkage_needs(program, "libglib-2.0.so"))
                return error_set(
                        error, -EOPNOTSUPP,
                        "the share %s: %s runs for root only; \"9p\" works without it, and so does the "
                        "virtiofsd in Rust",
                        share->tag, program);
        _cleanup_fd_ int connection = make_sockets(directory, share->tag, &listener, error);
        if (connection < 0)
                return connection;

        /* These options are understood by both implementations, the one in C and the one in Rust. Its sandbox
         * of namespaces takes root; without, it has the user's rights and no more. */
        _cleanup_free_ char *fd = text_format("--fd=%d", listener);
        _cleanup_free_ char *source = text_format("source=%s", share->path);
        const char *sandbox = geteuid() == 0 ? "sandbox=namespace" : "sandbox=none";
        if (!fd || !source)
                return error_set(error, -ENOMEM, "out of memory");
        if (strchr(share->path, ','))
                return error_set(error, -EINVAL, "virtiofsd cannot share a path with a comma: %s",
                                 share->path);

        const char *const words[] = { program, fd, "-o", source, "-o", sandbox, NULL };
        const struct spawn spawn = { .arguments = (char *const *)words,
                                     .fds = &listener,
                                     .n_fds = 1,
                                     .log = log,
                                     .ruleset = -1,
                                     .orphan = true };
        int r = spawn_run(&spawn, NULL, error);
        return r < 0 ? r : steal_fd(&connection);
}
