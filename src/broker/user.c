#include "broker/user.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static const struct {
        unsigned max;
        const char *what;
} limits[N_CHARGES] = {
        [CHARGE_CONNECTION] = { USER_CONNECTIONS_MAX, "connections to the broker" },
        [CHARGE_NETWORK] = { USER_NETWORKS_MAX, "live networks" },
        [CHARGE_HANDLE] = { USER_HANDLES_MAX, "open handles on networks" },
};

struct user *users_get(struct users *users, uid_t uid) {
        list_for_each(struct user, user, &users->list, link)
                if (user->uid == uid)
                        return user_ref(user);

        struct user *user = calloc(1, sizeof(*user));
        if (!user)
                return NULL;
        user->n_references = 1;
        user->uid = uid;
        list_append(&users->list, &user->link);
        return user;
}

struct user *user_ref(struct user *user) {
        user->n_references++;
        return user;
}

struct user *user_unref(struct user *user) {
        if (!user || --user->n_references > 0)
                return NULL;
        for (size_t i = 0; i < N_CHARGES; i++)
                assert(user->charges[i] == 0);
        list_unlink(&user->link);
        free(user);
        return NULL;
}

int user_charge(struct user *user, enum charge charge, struct error *error) {
        if (user->charges[charge] >= limits[charge].max)
                return error_set(error, -EDQUOT, "uid %u has %u %s, which is the limit for one user",
                                 user->uid, user->charges[charge], limits[charge].what);
        user->charges[charge]++;
        return 0;
}

void user_discharge(struct user *user, enum charge charge) {
        assert(user->charges[charge] > 0);
        user->charges[charge]--;
}
