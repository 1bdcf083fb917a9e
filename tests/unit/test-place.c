/* base/place */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/place.h"
#include "base/text.h"

static int clear_environment(void **state) {
        unsetenv("XDG_RUNTIME_DIR");
        unsetenv("XDG_DATA_HOME");
        unsetenv("XDG_CONFIG_HOME");
        unsetenv("BERTH_SOCKET");
        setenv("HOME", "/home/u", 1);
        return 0;
}

static void test_system(void **state) {
        struct place place;

        setenv("XDG_RUNTIME_DIR", "/elsewhere", 1);
        assert_int_equal(place_init(&place, true, NULL), 0);
        assert_true(place.system);
        assert_string_equal(place.runtime, "/run/berth");
        assert_string_equal(place.state, "/var/lib/berth");
        assert_string_equal(place.definitions, "/etc/berth/networks.d");
        assert_string_equal(place.broker_socket, "/run/berth/broker.sock");
        place_deinit(&place);
        place_deinit(&place);
}

static void test_user(void **state) {
        struct place place;

        setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
        assert_int_equal(place_init(&place, false, NULL), 0);
        assert_false(place.system);
        assert_string_equal(place.runtime, "/run/user/7/berth");
        assert_string_equal(place.state, "/home/u/.local/share/berth");
        assert_string_equal(place.definitions, "/home/u/.config/berth/networks.d");
        assert_string_equal(place.broker_socket, "/run/user/7/berth/broker.sock");
        place_deinit(&place);

        setenv("XDG_DATA_HOME", "/d", 1);
        setenv("XDG_CONFIG_HOME", "relative/is/ignored", 1);
        setenv("BERTH_SOCKET", "/s/b.sock", 1);
        assert_int_equal(place_init(&place, false, NULL), 0);
        assert_string_equal(place.state, "/d/berth");
        assert_string_equal(place.definitions, "/home/u/.config/berth/networks.d");
        assert_string_equal(place.broker_socket, "/s/b.sock");
        place_deinit(&place);
}

static void test_no_runtime_directory(void **state) {
        _cleanup_free_ char *fallback = text_format("/run/user/%u", (unsigned)geteuid());
        struct error error = ERROR_INIT;
        struct place place;
        struct stat st;
        int r;

        r = place_init(&place, false, &error);
        if (lstat(fallback, &st) == 0 && st.st_uid == geteuid()) {
                assert_int_equal(r, 0);
                assert_true(text_starts_with(place.runtime, fallback));
                place_deinit(&place);
        } else {
                assert_int_equal(r, -ENOENT);
                assert_non_null(strstr(error.text, "XDG_RUNTIME_DIR"));
        }
}

/* What only keeps state does without one. */
static void test_state_alone(void **state) {
        _cleanup_free_ char *user = NULL, *system = NULL;

        assert_int_equal(place_state(false, &user, NULL), 0);
        assert_string_equal(user, "/home/u/.local/share/berth");
        assert_int_equal(place_state(true, &system, NULL), 0);
        assert_string_equal(system, "/var/lib/berth");
}

HARNESS_MAIN(cmocka_unit_test_setup(test_system, clear_environment),
             cmocka_unit_test_setup(test_user, clear_environment),
             cmocka_unit_test_setup(test_no_runtime_directory, clear_environment),
             cmocka_unit_test_setup(test_state_alone, clear_environment))
