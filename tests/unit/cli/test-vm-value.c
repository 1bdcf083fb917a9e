/* cli/vm-value: values of the options that describe a VM. */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/vm-value.h"

static void test_sizes(void **state) {
        static const struct {
                const char *value;
                uint64_t mib, gib; /* 0: refused */
        } cases[] = {
                { "512", 512, 512 },
                { "512M", 512, 0 },
                { "2G", 2048, 2 },
                { "2g", 2048, 2 },
                { "2GiB", 2048, 2 },
                { "1T", 1048576, 1024 },
                { "15", 0, 15 },
                { "16", 16, 16 },
                { "0", 0, 0 },
                { "", 0, 0 },
                { "G", 0, 0 },
                { "-1", 0, 0 },
                { "1K", 0, 0 },
                { "1 G", 0, 0 },
                { "1Gi", 0, 0 },
                { "1.5G", 0, 0 },
                { "99999999999999", 0, 0 },
                { "17592186044416T", 0, 0 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                uint64_t mib = 0, gib = 0;

                assert_int_equal(vm_value_memory(cases[i].value, &mib, NULL), cases[i].mib ? 0 : -EINVAL);
                assert_int_equal(mib, cases[i].mib);
                assert_int_equal(vm_value_disk_size(cases[i].value, &gib, NULL), cases[i].gib ? 0 : -EINVAL);
                assert_int_equal(gib, cases[i].gib);
        }
}

static void test_forwards(void **state) {
        static const struct {
                const char *value, *expected; /* NULL: refused */
        } cases[] = {
                { "8080:80", "127.0.0.1:8080:80" },
                { "tcp:8080:80", "127.0.0.1:8080:80" },
                { "udp:53:53", "udp:127.0.0.1:53:53" },
                { "0.0.0.0:8080:80", "0.0.0.0:8080:80" },
                { "udp:10.0.0.1:1:65535", "udp:10.0.0.1:1:65535" },
                { "[::1]:8080:80", "[::1]:8080:80" },
                { "udp:[fd00::1]:53:53", "udp:[fd00::1]:53:53" },
                { "8080", NULL },
                { "8080:", NULL },
                { ":80", NULL },
                { "8080:80:", NULL },
                { "0:80", NULL },
                { "80:0", NULL },
                { "65536:80", NULL },
                { "127.0.0.1:80", NULL },
                { "127.0.0:80:80", NULL },
                { "::1:80:80", NULL },
                { "[::1:80:80", NULL },
                { "[::1]80:80", NULL },
                { "[127.0.0.1]:80:80", NULL },
                { "localhost:80:80", NULL },
                { "sctp:80:80", NULL },
                { "80: 80", NULL },
                { "+80:80", NULL },
                { "", NULL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *forward = NULL;
                struct error error = ERROR_INIT;
                int r = vm_value_forward(cases[i].value, &forward, &error);

                assert_int_equal(r, cases[i].expected ? 0 : -EINVAL);
                assert_true(text_equal(forward, cases[i].expected));
                if (r < 0)
                        assert_non_null(strstr(error.text, "[udp:][ADDRESS:]PORT:GUEST-PORT"));
        }
}

static void test_networks(void **state) {
        static const struct {
                const char *value, *expected, *reason;
        } cases[] = {
                { "shared", "{\"network\":\"shared\"}", NULL },
                { "lab,mac=52:54:00:AA:00:01,queues=2,isolated",
                  "{\"network\":\"lab\",\"mac\":\"52:54:00:aa:00:01\",\"queues\":2,\"isolated\":true}",
                  NULL },
                { "lab,address=10.0.0.5,id=6f1c2f0e-3d7f-4a62-9f0e-0d2c7c1b5a11",
                  "{\"network\":\"lab\",\"id\":\"6f1c2f0e-3d7f-4a62-9f0e-0d2c7c1b5a11\",\"address\":\"10.0.0."
                  "5\"}",
                  NULL },
                { "lab,name=web", NULL, "the VM's own name" },
                { "lab,mtu=1400", NULL, "berth run" },
                { "lab,queues=9", NULL, "from 1 to 8" },
                { "", NULL, "no name of a network" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                json_auto_t *network = NULL;
                _cleanup_free_ char *text = NULL;
                struct error error = ERROR_INIT;
                int r = vm_value_network(cases[i].value, &network, &error);

                assert_int_equal(r, cases[i].expected ? 0 : -EINVAL);
                text = network ? json_dumps(network, JSON_COMPACT) : NULL;
                assert_true(text_equal(text, cases[i].expected));
                if (r < 0)
                        assert_non_null(strstr(error.text, cases[i].reason));
        }
}

static void test_shares(void **state) {
        static const struct {
                const char *members, *expected, *reason;
        } cases[] = {
                { "", "\"tag\":\"data\"", NULL },
                { ",ro", "\"tag\":\"data\",\"read_only\":true", NULL },
                { ",read-only,tag=x,type=virtiofs", "\"tag\":\"x\",\"read_only\":true,\"type\":\"virtiofs\"",
                  NULL },
                { ",tag=", NULL, "tag=: a tag has" },
                { ",tag=a/b", NULL, "tag=a/b: a tag has" },
                { ",tag=12345678901234567890123456789012", NULL, "a tag has 1 to 31" },
                { ",type=nfs", NULL, "type=nfs: unknown" },
                { ",", NULL, "unknown" },
                { "/nowhere", NULL, "cannot share" },
                { "/file", NULL, "no directory" },
        };
        char *parent = harness_make_directory();
        _cleanup_free_ char *folder = text_format("%s/data", parent),
                            *file = text_format("%s/data/file", parent);

        assert_int_equal(file_make_directory(folder, 0700, NULL), 0);
        assert_int_equal(file_write(file, "", 0, 0600, false, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *value = text_format("%s%s", folder, cases[i].members), *text = NULL;
                _cleanup_free_ char *expected = text_format("{\"path\":\"%s\",%s}", folder,
                                                            cases[i].expected ? cases[i].expected : "");
                json_auto_t *share = NULL;
                struct error error = ERROR_INIT;
                int r = vm_value_share(value, &share, &error);

                assert_true(cases[i].expected ? r == 0 : r < 0);
                text = share ? json_dumps(share, JSON_COMPACT) : NULL;
                if (r == 0)
                        assert_string_equal(text, expected);
                else
                        assert_non_null(strstr(error.text, cases[i].reason));
        }
        harness_remove_directory(parent);
}

#define KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPsXedhFb9NPS3W7EcVBv6mppLD522VJIKCoTyu9pXaS"

static void test_ssh_keys(void **state) {
        static const struct {
                const char *content;
                size_t n; /* 0: refused */
                const char *reason;
        } cases[] = {
                { KEY " me@here\n", 1, NULL },
                { "# mine\n\n" KEY "\r\n" KEY " other", 2, NULL },
                { "", 0, "no public key" },
                { "# nothing\n", 0, "no public key" },
                { "hello\n", 0, "no public key" },
                { KEY "\nhello\n", 0, "no public key" },
                { "-----BEGIN OPENSSH PRIVATE KEY-----\n", 0, "is a private key" },
        };
        char *directory = harness_make_directory();
        _cleanup_free_ char *public = text_format("%s/id.pub", directory),
                            *private = text_format("%s/id", directory);
        _cleanup_(words_deinit) struct words identities = { 0 };
        json_auto_t *literal = json_array();

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                json_auto_t *keys = json_array();
                struct error error = ERROR_INIT;
                int r;

                assert_int_equal(
                        file_write(public, cases[i].content, strlen(cases[i].content), 0600, false, NULL), 0);
                r = vm_value_ssh_key(public, keys, &identities, &error);
                assert_int_equal(r, cases[i].n ? 0 : -EINVAL);
                if (r == 0)
                        assert_int_equal(json_array_size(keys), cases[i].n);
                else
                        assert_non_null(strstr(error.text, cases[i].reason));
        }
        /* A private key that is not there is no identity; one beside the public key is. */
        assert_int_equal(identities.n_words, 0);
        assert_int_equal(file_write(public, KEY, strlen(KEY), 0600, false, NULL), 0);
        assert_int_equal(file_write(private, "x", 1, 0600, false, NULL), 0);
        assert_int_equal(vm_value_ssh_key(public, literal, &identities, NULL), 0);
        assert_int_equal(identities.n_words, 1);
        assert_string_equal(identities.words[0], private);
        /* The key itself in place of a file. */
        assert_int_equal(vm_value_ssh_key(KEY, literal, &identities, NULL), 0);
        assert_int_equal(json_array_size(literal), 2);
        assert_string_equal(json_string_value(json_array_get(literal, 1)), KEY);
        assert_int_equal(vm_value_ssh_key("/nowhere/id.pub", literal, &identities, NULL), -ENOENT);
        harness_remove_directory(directory);
}

HARNESS_MAIN(cmocka_unit_test(test_sizes), cmocka_unit_test(test_forwards), cmocka_unit_test(test_networks),
             cmocka_unit_test(test_shares), cmocka_unit_test(test_ssh_keys))
