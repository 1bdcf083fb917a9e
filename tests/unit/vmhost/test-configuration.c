/* vmhost/configuration: what config.json says, what it leaves out, and what is wrong with it. */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "vmhost/configuration.h"

static struct configuration *parse(const char *text) {
        struct configuration *configuration = NULL;
        struct error error = ERROR_INIT;

        if (configuration_parse(&configuration, "/vms/web/config.json", "web", text, strlen(text), &error) <
            0)
                fail_msg("%s", error.text);
        return configuration;
}

static void test_defaults(void **state) {
        _cleanup_(configuration_freep) struct configuration *c = parse("{\"image\":\"/base.qcow2\"}");

        assert_int_equal(c->memory_mib, 1024);
        assert_int_equal(c->cpus, 1);
        assert_int_equal(c->machine, MACHINE_Q35);
        assert_string_equal(c->disk, "/vms/web/disk.qcow2");
        assert_int_equal(c->disk_format, DISK_QCOW2);
        assert_string_equal(c->hostname, "web");
        assert_true(c->ssh && c->confine);
        assert_int_equal(c->ssh_port, 0);
        assert_int_equal(c->restart, RESTART_NO);
        assert_int_equal(c->stop_timeout_seconds, 30);
        assert_int_equal(c->accelerator, ACCELERATOR_AUTO);
        assert_int_equal(c->console_log_mib, 8);
        assert_int_equal(c->memory_limit_mib + c->cpu_limit_percent, 0);
        assert_null(c->kernel);
        assert_null(c->firmware);
        assert_null(c->ssh_user);
        assert_null(c->user_data);
        assert_int_equal(c->n_networks + c->n_forwards + c->n_shares + c->n_ssh_keys + c->n_extra_arguments,
                         0);
}

/* What is shown is in the file's own format, complete: read again, it is shown the same. */
static void test_all(void **state) {
        static const char text[] =
                "{\"memory_mib\":2048,\"cpus\":4,\"machine\":\"microvm\",\"disk\":\"d.raw\",\"disk_format\":"
                "\"raw\","
                "\"disk_size_gib\":20,\"kernel\":\"../vmlinuz\",\"initrd\":\"/boot/"
                "initrd\",\"command_line\":\"quiet\","
                "\"firmware\":\"/"
                "fw.bin\",\"networks\":[{\"network\":\"shared\",\"mac\":\"52:54:00:12:34:56\","
                "\"id\":\"5f0c1b5e-98f6-4b80-a6a4-2a1b9a2f0001\",\"queues\":2,\"isolated\":true,"
                "\"address\":\"192.168.64.9\"},{\"network\":\"host\"}],"
                "\"forwards\":[\"2222:22\",\"udp:0.0.0.0:53:5353\",\"tcp:[::1]:80:8080\"],\"ssh_port\":2200,"
                "\"hostname\":\"mail\",\"ssh_user\":\"debian\",\"ssh_keys\":[\"ssh-ed25519 AAAA a b\"],"
                "\"user_data\":\"data.yaml\",\"shares\":[{\"path\":\"/srv/files\",\"read_only\":true},"
                "{\"path\":\"src\",\"tag\":\"source\",\"type\":\"virtiofs\"}],\"restart\":\"on-failure\","
                "\"stop_timeout_seconds\":5,\"confine\":false,\"accelerator\":\"tcg\",\"console_log_mib\":1,"
                "\"memory_limit_mib\":3000,\"cpu_limit_percent\":150,\"extra_arguments\":[\"-S\"]}";
        static const char shown[] =
                "{\"accelerator\":\"tcg\",\"command_line\":\"quiet\",\"confine\":false,\"console_log_mib\":1,"
                "\"cpu_limit_percent\":150,\"cpus\":4,"
                "\"disk\":\"/vms/web/d.raw\",\"disk_format\":\"raw\",\"disk_size_gib\":20,"
                "\"extra_arguments\":[\"-S\"],\"firmware\":\"/fw.bin\","
                "\"forwards\":[\"tcp:127.0.0.1:2222:22\",\"udp:0.0.0.0:53:5353\",\"tcp:[::1]:80:8080\"],"
                "\"hostname\":\"mail\",\"initrd\":\"/boot/initrd\",\"kernel\":\"/vms/web/../vmlinuz\","
                "\"machine\":\"microvm\",\"memory_limit_mib\":3000,\"memory_mib\":2048,\"networks\":[{"
                "\"address\":\"192.168.64.9\","
                "\"id\":\"5f0c1b5e-98f6-4b80-a6a4-2a1b9a2f0001\",\"isolated\":true,\"mac\":\"52:54:00:12:34:"
                "56\","
                "\"network\":\"shared\",\"queues\":2},{\"isolated\":false,\"network\":\"host\",\"queues\":1}]"
                ","
                "\"restart\":\"on-failure\",\"shares\":[{\"path\":\"/srv/"
                "files\",\"read_only\":true,\"tag\":\"files\","
                "\"type\":\"9p\"},{\"path\":\"/vms/web/src\",\"read_only\":false,\"tag\":\"source\","
                "\"type\":\"virtiofs\"}],\"ssh\":true,\"ssh_keys\":[\"ssh-ed25519 AAAA a "
                "b\"],\"ssh_port\":2200,"
                "\"ssh_user\":\"debian\",\"stop_timeout_seconds\":5,\"user_data\":\"/vms/web/data.yaml\"}";
        const char *texts[] = { text, shown };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_(configuration_freep) struct configuration *c = parse(texts[i]);
                json_auto_t *object = configuration_describe(c);
                _cleanup_free_ char *json = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);

                assert_string_equal(json, shown);
        }
}

static void test_user_data(void **state) {
        _cleanup_(configuration_freep) struct configuration *c = parse(
                "{\"kernel\":\"/k\",\"user_data\":\"#cloud-config\\n{}\"}");
        _cleanup_(configuration_freep) struct configuration *d = parse(
                "{\"kernel\":\"/k\",\"user_data\":\"Content-Type: multipart/mixed\\n\"}");

        assert_string_equal(c->user_data, "#cloud-config\n{}");
        assert_null(c->user_data_file);
        assert_string_equal(d->user_data, "Content-Type: multipart/mixed\n");
}

/* A VM's name need not be a DNS label; then it has no host name of its own accord. */
static void test_names(void **state) {
        static const char text[] = "{\"kernel\":\"/k\"}";
        struct configuration *c = NULL;

        assert_int_equal(configuration_parse(&c, "/c.json", "my_vm", text, strlen(text), NULL), 0);
        assert_null(c->hostname);
        c = configuration_free(c);
        assert_null(c);
}

/* A text that is refused, and what is said of it, behind the file's name. */
struct mistake {
        const char *text, *message;
};

static void expect_mistakes(const struct mistake *cases, size_t n) {
        for (size_t i = 0; i < n; i++) {
                struct configuration *configuration = NULL;
                struct error error = ERROR_INIT;

                assert_int_equal(configuration_parse(&configuration, "/config.json", "web", cases[i].text,
                                                     strlen(cases[i].text), &error),
                                 -EINVAL);
                assert_null(configuration);
                if (!text_starts_with(error.text, "/config.json:") || !strstr(error.text, cases[i].message))
                        fail_msg("%s: \"%s\" lacks \"%s\"", cases[i].text, error.text, cases[i].message);
        }
}

static void test_mistakes(void **state) {
        static const struct mistake cases[] = {
                { "", ":1: " },
                { "{\n\"cpus\":1,\n}", ":3: " },
                { "[]", ":1: the file must hold one JSON object" },
                { "{\"cpus\":1,\"cpus\":2}", "duplicate" },
                { "{}", ":1: a VM needs a \"disk\", an \"image\" or a \"kernel\"" },
                { "{\n\"kernel\":\"/k\",\n\"speed\":1}", ":3: unknown key \"speed\"" },
                { "{\"kernel\":\"/k\",\n\"cpus\":0}", ":2: \"cpus\" must be an integer from 1 to 255" },
                { "{\"kernel\":\"/k\",\n\"console_log_mib\":65}",
                  ":2: \"console_log_mib\" must be an integer from 1 to 64" },
                { "{\"kernel\":\"/k\",\n\"cpus\":\"2\"}", ":2: \"cpus\" must be an integer" },
                { "{\"kernel\":\"/k\",\n\"memory_mib\":15}", ":2: \"memory_mib\" must be" },
                { "{\"kernel\":\"\"}", ":1: \"kernel\" must be a text of 1 to 4095 bytes" },
                { "{\"kernel\":7}", ":1: \"kernel\" must be a text" },
                { "{\"kernel\":\"/k\",\n\"confine\":1}", ":2: \"confine\" must be true or false" },
                { "{\"kernel\":\"/k\",\n\"restart\":\"never\"}",
                  ":2: \"restart\" must be \"no\", \"on-failure\" or \"always\"" },
                { "{\"disk\":\"d\",\n\"machine\":\"pc\"}", ":2: \"machine\" must be \"q35\" or \"microvm\"" },
                { "{\"disk\":\"d\",\n\"machine\":\"microvm\"}", ":2: a \"microvm\" needs a \"kernel\"" },
                { "{\"image\":\"/i\",\n\"disk_format\":\"raw\"}",
                  ":2: a disk over an \"image\" is \"qcow2\"" },
                { "{\"disk\":\"d\",\n\"initrd\":\"/i\"}", ":2: \"initrd\" needs \"kernel\"" },
                { "{\"disk\":\"d\",\n\"command_line\":\"x\"}", ":2: \"command_line\" needs \"kernel\"" },
                { "{\"disk\":\"d\",\n\"hostname\":\"a.b\"}", ":2: \"hostname\" must be" },
                { "{\"disk\":\"d\",\n\"ssh_user\":\"-x\"}", ":2: \"ssh_user\" is no name" },
                { "{\"disk\":\"d\",\n\"memory_mib\":64,\n\"memory_limit_mib\":63}",
                  ":3: \"memory_limit_mib\" is less than the VM's memory" },
        };

        expect_mistakes(cases, ARRAY_SIZE(cases));
}

static void test_mistakes_in_networks_and_forwards(void **state) {
        static const struct mistake cases[] = {
                { "{\"disk\":\"d\",\n\"ssh\":false,\n\"ssh_port\":1}", ":3: \"ssh_port\" and" },
                { "{\"disk\":\"d\",\"networks\":[{\"network\":\"a\"}],\"forwards\":[\"8080:80\"],\n\"ssh_"
                  "port\":8080}",
                  ":2: \"ssh_port\" is one of \"forwards\" too" },
                { "{\"disk\":\"d\",\"networks\":[{\"network\":\"a\"}],\"forwards\":[\"0.0.0.0:8080:80\"],"
                  "\n\"ssh_port\":8080}",
                  ":2: \"ssh_port\" is one of \"forwards\" too" },
                { "{\"disk\":\"d\",\"networks\":[{\"network\":\"a\"}],\n\"forwards\":[\"8080:80\",\n\"0.0.0."
                  "0:8080:81\"]}",
                  ":3: \"0.0.0.0:8080:81\": this port of the host is forwarded already" },
                { "{\"disk\":\"d\",\"networks\":[{\"network\":\"a\"}],\n\"forwards\":[\"[::]:8080:80\",\n\"[:"
                  ":1]:8080:81\"]}",
                  ":3: \"[::1]:8080:81\": this port of the host is forwarded already" },
                { "{\"disk\":\"d\",\n\"ssh_port\":65536}", ":2: \"ssh_port\" must be" },
                { "{\"disk\":\"d\",\n\"networks\":{}}", ":2: \"networks\" must be an array of at most 8" },
                { "{\"disk\":\"d\",\n\"networks\":[\n1]}", ":3: a network must be an object" },
                { "{\"disk\":\"d\",\n\"networks\":[\n{}]}", ":3: a network needs \"network\"" },
                { "{\"disk\":\"d\",\"networks\":[\n{\"network\":\"a\"},\n{\"network\":\"a\"}]}",
                  ":3: the network \"a\" is there twice" },
                { "{\"disk\":\"d\",\"networks\":[{\"network\":\"a\",\n\"mac\":\"01:00:00:00:00:00\"}]}",
                  ":2: \"mac\" must be a unicast MAC address" },
                { "{\"disk\":\"d\",\"networks\":[{\"network\":\"a\",\n\"queues\":9}]}",
                  ":2: \"queues\" must be" },
                { "{\"disk\":\"d\",\"networks\":[{\"network\":\"a\",\n\"id\":\"x\"}]}",
                  ":2: \"id\" must be a UUID" },
                { "{\"disk\":\"d\",\"networks\":[{\"network\":\"a\",\n\"speed\":1}]}",
                  ":2: unknown key \"speed\" in a network" },
                { "{\"disk\":\"d\",\n\"forwards\":[\"1:1\"]}", ":2: forwards need a network" },
        };

        expect_mistakes(cases, ARRAY_SIZE(cases));
}

static void test_mistakes_in_shares_and_keys(void **state) {
        static const struct mistake cases[] = {
                { "{\"disk\":\"d\",\n\"shares\":[{\"tag\":\"x\"}]}", ":2: a share needs \"path\"" },
                { "{\"disk\":\"d\",\n\"shares\":[{\"path\":\"/\"}]}", ":2: the share / needs a \"tag\"" },
                { "{\"disk\":\"d\",\"shares\":[{\"path\":\"/a/x\"},\n{\"path\":\"/b/x\"}]}",
                  ":2: the tag \"x\"" },
                { "{\"disk\":\"d\",\n\"shares\":[{\"path\":\"/"
                  "x\",\"type\":\"virtiofs\",\"read_only\":true}]}",
                  ":2: a share of type \"virtiofs\" cannot be \"read_only\"" },
                { "{\"disk\":\"d\",\"ssh_keys\":[\n\"~/.ssh/id.pub\"]}", ":2: an ssh key must be the text" },
                { "{\"disk\":\"d\",\"ssh_keys\":[\"ssh-rsa A\",\n\"ssh-rsa A\\nssh-rsa B\"]}",
                  ":2: an ssh key" },
                { "{\"disk\":\"d\",\n\"extra_arguments\":[1]}", ":2: \"extra_arguments\" must be a text" },
        };

        expect_mistakes(cases, ARRAY_SIZE(cases));
}

static void test_forwards(void **state) {
        static const char *const bad[] = {
                "",
                "22",
                "x:22",
                "22:x",
                "0:22",
                "22:0",
                "65536:22",
                "1:2:3:4",
                "a.b:1:2",
                "::1:1:2",
                "[::1:1:2",
                "[::1]1:2",
                "sctp:1:2",
                "127.0.0.1:22",
                "1:2 ",
                " 1:2",
                "[127.0.0.1]:1:2",
                "udp:",
                "tcp:udp:1:2",
        };

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct configuration *configuration = NULL;
                struct error error = ERROR_INIT;
                _cleanup_free_ char *text = text_format("{\"disk\":\"d\",\"networks\":[{\"network\":\"a\"}],"
                                                        "\"forwards\":[\n\"%s\"]}",
                                                        bad[i]);

                if (configuration_parse(&configuration, "/c", "web", text, strlen(text), &error) != -EINVAL)
                        fail_msg("\"%s\" passes", bad[i]);
                assert_non_null(strstr(error.text, "/c:2: a forward must be a text"));
        }
        struct error error = ERROR_INIT;
        struct configuration *configuration = NULL;
        static const char twice[] = "{\"disk\":\"d\",\"networks\":[{\"network\":\"a\"}],\n"
                                    "\"forwards\":[\"1:1\",\"udp:1:1\",\n\"tcp:127.0.0.1:1:2\"]}";
        assert_int_equal(configuration_parse(&configuration, "/c", "web", twice, strlen(twice), &error),
                         -EINVAL);
        assert_string_equal(error.text,
                            "/c:3: \"tcp:127.0.0.1:1:2\": this port of the host is forwarded already");
}

static void test_load(void **state) {
        char *directory = harness_make_directory();
        _cleanup_free_ char *path = text_format("%s/config.json", directory);
        _cleanup_free_ char *disk = text_format("%s/my.qcow2", directory);
        static const char text[] = "{\"disk\":\"my.qcow2\"}";
        struct configuration *c = NULL;
        struct error error = ERROR_INIT;

        assert_int_equal(configuration_load(&c, path, "web", &error), -ENOENT);
        assert_non_null(strstr(error.text, path));
        assert_int_equal(file_write(path, text, strlen(text), 0600, false, NULL), 0);
        assert_int_equal(configuration_load(&c, path, "web", NULL), 0);
        assert_string_equal(c->disk, disk);
        configuration_free(c);
        harness_remove_directory(directory);
}

HARNESS_MAIN(cmocka_unit_test(test_defaults), cmocka_unit_test(test_all), cmocka_unit_test(test_user_data),
             cmocka_unit_test(test_names), cmocka_unit_test(test_mistakes),
             cmocka_unit_test(test_mistakes_in_networks_and_forwards),
             cmocka_unit_test(test_mistakes_in_shares_and_keys), cmocka_unit_test(test_forwards),
             cmocka_unit_test(test_load))
