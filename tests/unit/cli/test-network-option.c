/* cli/network-option: the value of --network. */
#include "harness.h"

#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/network-option.h"

static void test_good(void **state) {
        static const struct {
                const char *value, *network;
                struct berth_interface_options expected;
        } cases[] = {
                { "shared", "shared", { 0 } },
                { "my_net.2", "my_net.2", { 0 } },
                { "shared,name=web", "shared", { .name = "web" } },
                { "host,mac=52:54:00:AB:cd:ef", "host", { .mac = "52:54:00:ab:cd:ef" } },
                { "shared,id=6F1C2F0E-3d7f-4a62-9f0e-0d2c7c1b5a11",
                  "shared",
                  { .id = "6f1c2f0e-3d7f-4a62-9f0e-0d2c7c1b5a11" } },
                { "shared,address=192.168.64.9", "shared", { .address = "192.168.64.9" } },
                { "shared,mtu=68,queues=8", "shared", { .mtu = 68, .queues = 8 } },
                { "shared,isolated,queues=1", "shared", { .queues = 1, .isolated = true } },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct network_option option;

                assert_int_equal(network_option_parse(&option, cases[i].value, NULL), 0);
                assert_string_equal(option.network, cases[i].network);
                assert_int_equal(option.interface.size, sizeof(option.interface));
                assert_true(text_equal(option.interface.name, cases[i].expected.name));
                assert_true(text_equal(option.interface.id, cases[i].expected.id));
                assert_true(text_equal(option.interface.mac, cases[i].expected.mac));
                assert_true(text_equal(option.interface.address, cases[i].expected.address));
                assert_int_equal(option.interface.mtu, cases[i].expected.mtu);
                assert_int_equal(option.interface.queues, cases[i].expected.queues);
                assert_int_equal(option.interface.isolated, cases[i].expected.isolated);
                network_option_deinit(&option);
        }
}

static void test_bad(void **state) {
        static const struct {
                const char *value, *reason;
        } cases[] = {
                { "", "no name of a network" },
                { ",name=web", "no name of a network" },
                { "../etc", "no name of a network" },
                { "shared,", "unknown" },
                { "shared,nmae=web", "did you mean name?" },
                { "shared,colour=red", "there are mac" },
                { "shared,name", "name needs a value" },
                { "shared,name=", "name needs a value" },
                { "shared,name=-web", "letters, digits and hyphens" },
                { "shared,name=a.b", "letters, digits and hyphens" },
                { "shared,name=a,name=b", "name is given twice" },
                { "shared,mac=52:54:00:12:34", "not the MAC address" },
                { "shared,mac=01:00:5e:00:00:01", "not the MAC address" },
                { "shared,mac=00:00:00:00:00:00", "not the MAC address" },
                { "shared,id=1234", "not a UUID" },
                { "shared,address=1.2.3", "not an IPv4 address" },
                { "shared,address=fd00::1", "not an IPv4 address" },
                { "shared,mtu=67", "from 68 to" },
                { "shared,mtu=65536", "from 68 to" },
                { "shared,mtu=9k", "from 68 to" },
                { "shared,queues=0", "from 1 to 8" },
                { "shared,queues=9", "from 1 to 8" },
                { "shared,isolated=yes", "isolated takes no value" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct network_option option;
                struct error error = ERROR_INIT;

                assert_int_equal(network_option_parse(&option, cases[i].value, &error), -EINVAL);
                assert_non_null(strstr(error.text, cases[i].reason));
                assert_true(text_starts_with(error.text, "--network "));
        }
}

HARNESS_MAIN(cmocka_unit_test(test_good), cmocka_unit_test(test_bad))
