/* Policy: who may have which network. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "broker/definition.h"
#include "broker/peer.h"

/*
 * A user's broker serves that user alone. The system's serves root always, and of the others those that the
 * definition's `allow` names, or without one the members of the group POLICY_GROUP.
 */
#define POLICY_GROUP "berth"

struct policy {
        bool system;
        uid_t own_uid;
};

/*
 * 0, or -EACCES with a text that says who and what decides. `definition` is NULL where none can be read any
 * more: then nobody but root may. The default group must have been put in by policy_complete.
 */
int policy_check(const struct policy *policy, const struct definition *definition, const struct peer *peer,
                 struct error *error);
/* Whether the peer may speak to this broker at all. 0 or -EACCES. */
int policy_check_peer(const struct policy *policy, const struct peer *peer, struct error *error);
/* Looks up what policy_check will need: once per making of a network, as it reads files. 0 or -ENOMEM. */
int policy_complete(const struct policy *policy, struct definition *definition);
