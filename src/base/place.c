/* Places: where sockets, state and definitions live in user mode and in system mode. */
#include "base/place.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"

/* The specification says to ignore paths that are not absolute. A library may live in a setuid program, which
 * takes no path from its caller's environment: secure_getenv. */
static const char *get_directory(const char *name) {
        const char *value = secure_getenv(name);

        return value && value[0] == '/' ? value : NULL;
}

static const char *get_home(void) {
        const char *home = get_directory("HOME");
        const struct passwd *user;

        if (home)
                return home;
        user = getpwuid(geteuid());
        return user && user->pw_dir[0] == '/' ? user->pw_dir : NULL;
}

static int find_runtime(char **ret, struct error *error) {
        const char *xdg = get_directory("XDG_RUNTIME_DIR");
        _cleanup_free_ char *fallback = NULL;
        struct stat st;

        if (xdg) {
                *ret = text_format("%s/berth", xdg);
                return *ret ? 0 : -ENOMEM;
        }

        fallback = text_format("/run/user/%u", (unsigned)geteuid());
        if (!fallback)
                return -ENOMEM;
        if (lstat(fallback, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
                return error_set(
                        error, -ENOENT,
                        "no runtime directory: %s is not there, or not yours; set XDG_RUNTIME_DIR to a "
                        "directory that only you can enter (mode 0700)",
                        fallback);
        *ret = text_format("%s/berth", fallback);
        return *ret ? 0 : -ENOMEM;
}

/* $VARIABLE/REST, or HOME/FALLBACK/REST. */
static int find_user_directory(const char *variable, const char *fallback, const char *rest, char **ret,
                               struct error *error) {
        const char *base = get_directory(variable), *home;

        if (base) {
                *ret = text_format("%s/%s", base, rest);
        } else {
                home = get_home();
                if (!home)
                        return error_set(error, -ENOENT, "no home directory: set HOME, or %s", variable);
                *ret = text_format("%s/%s/%s", home, fallback, rest);
        }
        return *ret ? 0 : -ENOMEM;
}

int place_state(bool system, char **ret, struct error *error) {
        int r;

        if (!system) {
                r = find_user_directory("XDG_DATA_HOME", ".local/share", "berth", ret, error);
        } else {
                *ret = strdup("/var/lib/berth");
                r = *ret ? 0 : -ENOMEM;
        }
        return r == -ENOMEM ? error_set(error, r, "out of memory") : r;
}

static int fill_user(struct place *place, struct error *error) {
        int r;

        r = find_runtime(&place->runtime, error);
        if (r < 0)
                return r;
        return find_user_directory("XDG_CONFIG_HOME", ".config", "berth/networks.d", &place->definitions,
                                   error);
}

static int fill_system(struct place *place) {
        place->runtime = strdup("/run/berth");
        place->definitions = strdup("/etc/berth/networks.d");
        return place->runtime && place->definitions ? 0 : -ENOMEM;
}

int place_init(struct place *ret, bool system, struct error *error) {
        _cleanup_(place_deinit) struct place place = { .system = system };
        const char *socket = secure_getenv("BERTH_SOCKET");
        int r;

        r = system ? fill_system(&place) : fill_user(&place, error);
        if (r == 0)
                r = place_state(system, &place.state, error);
        if (r == -ENOMEM)
                return error_set(error, r, "out of memory");
        if (r < 0)
                return r;

        place.broker_socket = socket && socket[0] ? strdup(socket)
                                                  : text_format("%s/broker.sock", place.runtime);
        if (!place.broker_socket)
                return error_set(error, -ENOMEM, "out of memory");

        *ret = place;
        place = (struct place){};
        return 0;
}

void place_deinit(struct place *place) {
        free(place->runtime);
        free(place->state);
        free(place->definitions);
        free(place->broker_socket);
        *place = (struct place){};
}
