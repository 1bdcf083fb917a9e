#include "broker/directories.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/place.h"
#include "base/process.h"
#include "base/text.h"
#include "config.h"

#define NETWORK_PROGRAM "berth-network"
/* For a broker that is ending: it has closed its socket and will drop the lock any moment. */
#define LOCK_TRIES 150
#define LOCK_INTERVAL 20000000 /* nanoseconds */

/* Who can write here can put a control socket in the place of ours, or a link in the place of a directory. */
static int check_owner(const char *path, struct error *error) {
        struct stat status;

        if (stat(path, &status) < 0)
                return error_errno(error, -errno, "%s", path);
        if (status.st_uid != geteuid())
                return error_set(error, -EPERM,
                                 "%s belongs to uid %u: the socket must be in a directory of the "
                                 "broker's own",
                                 path, status.st_uid);
        if (status.st_mode & (S_IWGRP | S_IWOTH))
                return error_set(error, -EPERM,
                                 "others can write to %s: the socket must be in a directory of the "
                                 "broker's own",
                                 path);
        return 0;
}

/* A copy of the option, made absolute, as it is handed on to other processes; or of the usual place. */
static char *choose(const char *option, const char *usual) {
        if (!option || option[0] == '/')
                return strdup(option ?: usual);

        _cleanup_free_ char *here = getcwd(NULL, 0);
        return here ? text_format("%s/%s", here, option) : NULL;
}

int directories_init(struct directories *ret, const struct options *options, struct error *error) {
        _cleanup_(directories_deinit) struct directories d = DIRECTORIES_INIT;
        _cleanup_(place_deinit) struct place place = {};

        int r = place_init(&place, options->system, error);
        if (r < 0)
                return r;
        d.socket = choose(options->socket, place.broker_socket);
        d.state = choose(options->state, place.state);
        d.definitions = choose(options->definitions, place.definitions);
        if (!d.socket || !d.state || !d.definitions)
                return error_set(error, -ENOMEM, "out of memory");
        if (d.socket[0] != '/')
                return error_set(error, -EINVAL, "the socket's path must be absolute: %s", d.socket);
        d.runtime = strndup(d.socket, (size_t)(strrchr(d.socket, '/') - d.socket));
        if (!d.runtime)
                return error_set(error, -ENOMEM, "out of memory");

        /* The system's clients must get through to the socket, and dnsmasq, a user of its own there, to its
         * files. */
        r = file_make_directory(d.runtime, options->system ? 0755 : 0700, error);
        if (r < 0)
                return r;
        r = check_owner(d.runtime, error);
        if (r < 0)
                return r;
        r = file_make_directory(d.state, options->system ? 0755 : 0700, error);
        if (r < 0)
                return r;
        *ret = d;
        d = DIRECTORIES_INIT;
        return 0;
}

void directories_deinit(struct directories *directories) {
        free(directories->socket);
        free(directories->runtime);
        free(directories->state);
        free(directories->definitions);
        fd_close(directories->lock);
        *directories = DIRECTORIES_INIT;
}

static bool somebody_listens(const char *socket) {
        _cleanup_fd_ int fd = fd_connect_unix(socket);

        return fd >= 0;
}

int directories_lock(struct directories *directories, struct error *error) {
        const struct timespec interval = { .tv_nsec = LOCK_INTERVAL };
        _cleanup_free_ char *path = text_format("%s/berthd.lock", directories->runtime);

        if (!path)
                return -ENOMEM;
        for (unsigned i = 0; i < LOCK_TRIES; i++) {
                directories->lock = file_lock(path, false, error);
                if (directories->lock >= 0)
                        return 0;
                if (directories->lock != -EWOULDBLOCK)
                        return directories->lock;
                if (somebody_listens(directories->socket))
                        break;
                nanosleep(&interval, NULL);
        }
        return error_set(error, -EALREADY, "another berthd runs in %s", directories->runtime);
}

/* DIRECTORY/REST if that can be run; directory may be NULL. */
static char *find_in(const char *directory, const char *rest) {
        _cleanup_free_ char *path = directory ? text_format("%s/%s", directory, rest) : NULL;

        return path && access(path, X_OK) == 0 ? steal_ptr(path) : NULL;
}

char *directories_find_network_program(const struct options *options, struct error *error) {
        const char *given = options->network_program ?: secure_getenv("BERTH_NETWORK");
        _cleanup_free_ char *own = process_own_directory();
        char *found;

        if (given) {
                found = access(given, X_OK) == 0 ? choose(given, NULL) : NULL;
                if (!found)
                        error_errno(error, -errno, "cannot run %s", given);
                return found;
        }
        found = find_in(own, NETWORK_PROGRAM);
        if (!found)
                found = find_in(own, "../network/" NETWORK_PROGRAM); /* in a build tree */
        if (!found)
                found = find_in(BERTH_LIBEXECDIR, NETWORK_PROGRAM);
        if (!found)
                error_set(error, -ENOENT,
                          "there is no " NETWORK_PROGRAM " beside berthd or in " BERTH_LIBEXECDIR
                          ": install it, or name it with --network-program or BERTH_NETWORK");
        return found;
}
