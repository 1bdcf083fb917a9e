/* berthd: what it tells of its networks, by `list` and `enter`. */
#include "harness.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "fixture.h"

static void test_enter(void **state) {
        struct wire *client = fixture_connect(*state);
        struct wire *handle = acquire(client, "shared", NULL);
        struct wire_message reply;
        struct stat found, own;

        ask(client, "enter", "shared", &reply);
        assert_int_equal(reply.n_fds, geteuid() == 0 ? 1 : 2);
        assert_int_equal(fstat(reply.fds[reply.n_fds - 1], &found), 0);
        assert_int_equal(stat("/proc/self/ns/net", &own), 0);
        assert_int_equal(found.st_ino, own.st_ino); /* the stand-in's is ours */
        json_t *network = json_object_get(reply.body, "network");
        assert_string_equal(json_string_value(json_object_get(network, "state")), "running");
        assert_null(json_object_get(network, "interfaces"));
        wire_message_deinit(&reply);
        wire_free(handle);
        wire_free(client);
}

static void test_list(void **state) {
        struct wire *client = fixture_connect(*state);

        fixture_define(*state, "deaf", "{\"description\": \"hears nothing\"}");
        fixture_define(*state, "broken", "{\n\n nonsense");
        struct wire *deaf = acquire(client, "deaf", NULL), *shared = acquire(client, "shared", NULL);

        json_t *body = ask_once(*state, "list", NULL), *networks = json_object_get(body, "networks");
        while (is_late(json_array_get(networks, 1))) {
                json_decref(body);
                body = ask_once(*state, "list", NULL);
                networks = json_object_get(body, "networks");
        }
        json_t *definitions = json_object_get(body, "definitions");
        assert_int_equal(json_array_size(networks), 2);
        assert_non_null(json_object_get(json_array_get(networks, 0), "message"));
        assert_null(json_object_get(json_array_get(networks, 0), "interfaces"));
        assert_null(json_object_get(json_array_get(networks, 1), "message"));
        assert_true(json_is_array(json_object_get(json_array_get(networks, 1), "interfaces")));

        assert_int_equal(json_array_size(definitions), 4);
        assert_string_equal(json_string_value(json_object_get(json_array_get(definitions, 0), "source")),
                            "built in");
        const char *error = json_string_value(json_object_get(json_array_get(definitions, 2), "error"));
        assert_non_null(strstr(error, "broken.json:3:"));
        assert_string_equal(json_string_value(json_object_get(json_array_get(definitions, 3), "description")),
                            "hears nothing");
        json_decref(body);
        wire_free(shared);
        wire_free(deaf);
        wire_free(client);
}

/* One exchange, and another where a network did not answer in time. The networks, in the reply. */
static json_t *ask_networks(struct wire *client, const char *command, const char *name, struct wire_message *ret) {
        for (;;) {
                bool late = false;
                json_t *networks, *one;
                size_t i;

                ask(client, command, name, ret);
                assert_int_equal(error_of(ret->body), 0);
                networks = json_object_get(ret->body, "networks");
                json_array_foreach(networks, i, one)
                        late |= is_late(one);
                if (!late && !is_late(json_object_get(ret->body, "network")))
                        return networks;
                wire_message_deinit(ret);
        }
}

/* A network with as many forwards as a line can list, or two, hides nothing of the others, and nobody's
 * connection ends for it. */
static void test_long_answers(void **state) {
        static const char *const names[] = { "long1", "long2", "shared" };
        struct wire *client = fixture_connect(*state), *handles[ARRAY_SIZE(names)];
        struct wire_message reply;

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                if (i < 2)
                        fixture_define(*state, names[i], "{}");
                handles[i] = acquire(client, names[i], NULL);
        }
        json_t *networks = ask_networks(client, "list", NULL, &reply);
        assert_int_equal(json_array_size(networks), 3);
        for (size_t i = 0; i < 3; i++) {
                json_t *network = json_array_get(networks, i),
                       *left_out = json_object_get(network, "left_out");

                assert_true(json_is_array(json_object_get(network, "clients")));
                assert_true(json_is_array(json_object_get(network, "interfaces")));
                assert_int_equal(left_out == NULL, json_object_get(network, "forwards") != NULL);
                assert_int_equal(left_out == NULL, json_object_get(network, "message") == NULL);
                if (left_out) {
                        assert_int_equal(json_array_size(left_out), 1);
                        assert_string_equal(json_string_value(json_array_get(left_out, 0)), "forwards");
                }
                assert_true(i != 2 || !left_out);
        }
        wire_message_deinit(&reply);

        /* With the clients of the network it is too long for `enter`, and for a list of it alone. */
        for (size_t i = 0; i < 2; i++) {
                networks = ask_networks(client, i == 0 ? "enter" : "list", "long1", &reply);
                json_t *network = i == 0 ? json_object_get(reply.body, "network") : json_array_get(networks, 0);
                assert_int_equal(json_array_size(json_object_get(network, "left_out")), 1);
                assert_int_equal(reply.n_fds, i > 0 ? 0 : geteuid() == 0 ? 1 : 2);
                wire_message_deinit(&reply);
        }
        handle_server(handles[0], NULL);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                wire_free(handles[i]);
        wire_free(client);
}

HARNESS_MAIN(WITH_BROKER(test_enter), WITH_BROKER(test_list), WITH_BROKER(test_long_answers))
