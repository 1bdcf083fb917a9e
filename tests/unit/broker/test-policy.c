/* broker/policy, broker/peer, broker/user */
#include "harness.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "broker/definition.h"
#include "broker/policy.h"
#include "broker/user.h"

static void test_policy(void **state) {
        gid_t groups[] = { 100, 4321 };
        const struct policy user = { .own_uid = 1000 }, system = { .system = true };
        uid_t allowed_uids[] = { 1001 };
        gid_t allowed_gids[] = { 4321 };
        const struct {
                const struct policy *policy;
                uid_t uid;
                size_t n_groups;
                struct allow allow;
                int expected;
        } cases[] = {
                { &user, 1000, 1, {}, 0 },
                { &user, 0, 1, {}, -EACCES },
                { &user, 1001, 1, { .given = true, .everyone = true }, -EACCES },
                { &system, 0, 1, {}, 0 },
                { &system, 0, 1, { .given = true }, 0 },
                { &system, 1000, 1, {}, -EACCES },
                /* The default group, as policy_complete puts it in. */
                { &system, 1000, 2, { .gids = allowed_gids, .n_gids = 1 }, 0 },
                { &system, 1000, 1, { .gids = allowed_gids, .n_gids = 1 }, -EACCES },
                { &system, 1000, 2, { .given = true }, -EACCES },
                { &system, 1000, 1, { .given = true, .everyone = true }, 0 },
                { &system, 1001, 1, { .given = true, .uids = allowed_uids, .n_uids = 1 }, 0 },
                { &system, 1000, 1, { .given = true, .uids = allowed_uids, .n_uids = 1 }, -EACCES },
                { &system, 1000, 2, { .given = true, .gids = allowed_gids, .n_gids = 1 }, 0 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct peer peer = { .uid = cases[i].uid,
                                           .groups = groups,
                                           .n_groups = cases[i].n_groups };
                const struct definition definition = { .name = (char *)"net",
                                                       .source = (char *)"FILE",
                                                       .allow = cases[i].allow };
                struct error error = ERROR_INIT;

                int r = policy_check(cases[i].policy, &definition, &peer, &error);
                if (r != cases[i].expected)
                        fail_msg("case %zu: %d %s", i, r, error.text);
                assert_int_equal(r < 0, error.text[0] != 0);
        }
}

static void test_without_a_definition(void **state) {
        gid_t groups[] = { 0 };
        const struct policy system = { .system = true };
        struct peer peer = { .uid = 0, .groups = groups, .n_groups = 1 };

        assert_int_equal(policy_check(&system, NULL, &peer, NULL), 0);
        peer.uid = 1000;
        assert_int_equal(policy_check(&system, NULL, &peer, NULL), -EACCES);
}

static void test_peer(void **state) {
        struct peer peer;
        int pair[2];

        assert_int_equal(fd_socketpair(pair, false), 0);
        assert_int_equal(peer_read(pair[0], &peer), 0);
        assert_int_equal(peer.uid, getuid());
        assert_int_equal(peer.pid, getpid());
        assert_true(peer_in_group(&peer, getgid()));
        assert_false(peer_in_group(&peer, 4242424));
        assert_string_equal(peer.program, "test-policy");
        peer_deinit(&peer);
        close(pair[0]);
        close(pair[1]);
}

static void test_charges(void **state) {
        struct users users;
        struct error error = ERROR_INIT;

        list_init(&users.list);
        struct user *user = users_get(&users, 1000), *same = users_get(&users, 1000),
                    *other = users_get(&users, 1001);
        assert_ptr_equal(user, same);
        assert_ptr_not_equal(user, other);
        for (unsigned i = 0; i < USER_NETWORKS_MAX; i++)
                assert_int_equal(user_charge(user, CHARGE_NETWORK, &error), 0);
        assert_int_equal(user_charge(user, CHARGE_NETWORK, &error), -EDQUOT);
        assert_string_equal(error.text, "uid 1000 has 32 live networks, which is the limit for one user");
        assert_int_equal(user_charge(user, CHARGE_HANDLE, NULL), 0);
        assert_int_equal(user_charge(other, CHARGE_NETWORK, NULL), 0);
        user_discharge(user, CHARGE_NETWORK);
        assert_int_equal(user_charge(user, CHARGE_NETWORK, NULL), 0);

        for (unsigned i = 0; i < USER_NETWORKS_MAX; i++)
                user_discharge(user, CHARGE_NETWORK);
        user_discharge(user, CHARGE_HANDLE);
        user_discharge(other, CHARGE_NETWORK);
        user_unref(user);
        user_unref(same);
        user_unref(other);
        assert_true(list_empty(&users.list));
}

HARNESS_MAIN(cmocka_unit_test(test_policy), cmocka_unit_test(test_without_a_definition),
             cmocka_unit_test(test_peer), cmocka_unit_test(test_charges))
