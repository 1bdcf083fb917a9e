#include "broker/policy.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/account.h"

int policy_check_peer(const struct policy *policy, const struct peer *peer, struct error *error) {
        if (policy->system || peer->uid == policy->own_uid)
                return 0;
        return error_set(error, -EACCES,
                         "uid %u may not use the broker of uid %u: a user's broker serves that "
                         "user alone",
                         peer->uid, policy->own_uid);
}

static bool allow_has(const struct allow *allow, const struct peer *peer) {
        if (allow->everyone)
                return true;
        for (size_t i = 0; i < allow->n_uids; i++)
                if (allow->uids[i] == peer->uid)
                        return true;
        for (size_t i = 0; i < allow->n_gids; i++)
                if (peer_in_group(peer, allow->gids[i]))
                        return true;
        return false;
}

int policy_check(const struct policy *policy, const struct definition *definition, const struct peer *peer,
                 struct error *error) {
        int r = policy_check_peer(policy, peer, error);
        if (r < 0 || !policy->system || peer->uid == 0)
                return r;
        if (!definition)
                return error_set(error, -EACCES,
                                 "uid %u (%s) may not use this network: its definition cannot be "
                                 "read any more, and until then it serves root alone",
                                 peer->uid, peer->program);
        if (allow_has(&definition->allow, peer))
                return 0;
        if (definition->allow.given)
                return error_set(error, -EACCES,
                                 "uid %u (%s) may not use network \"%s\": \"allow\" in %s names "
                                 "neither the user nor a group of it",
                                 peer->uid, peer->program, definition->name, definition->source);
        return error_set(error, -EACCES,
                         "uid %u (%s) may not use network \"%s\": it is not in the group \"%s\"%s", peer->uid,
                         peer->program, definition->name, POLICY_GROUP,
                         definition->allow.n_gids == 0 ? ", which does not exist on this system"
                                                       : " (a new member must log in anew)");
}

int policy_complete(const struct policy *policy, struct definition *definition) {
        struct allow *allow = &definition->allow;
        gid_t gid;

        if (!policy->system || allow->given || account_find(POLICY_GROUP, true, &gid) < 0)
                return 0;
        allow->gids = calloc(1, sizeof(*allow->gids));
        if (!allow->gids)
                return -ENOMEM;
        allow->gids[allow->n_gids++] = gid;
        return 0;
}
