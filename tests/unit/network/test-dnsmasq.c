/* network/dnsmasq: its files, and the program itself in a namespace */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "network/dnsmasq.h"
#include "world.h"

struct bench {
        struct world world;
        struct loop *loop;
        struct dnsmasq *dnsmasq;
};

static void on_changed(void *data) {
        struct bench *bench = data;

        loop_exit(bench->loop, 0);
}

static void make(struct bench *bench, const char *changes) {
        struct error error = ERROR_INIT;

        world_make(&bench->world, changes);
        /* In system mode it gives up being root, and still reads and writes its files. */
        assert_int_equal(chmod(bench->world.directory, 0755), 0);
        assert_int_equal(loop_new(&bench->loop), 0);
        if (dnsmasq_new(&bench->dnsmasq, bench->loop, &bench->world.configuration, on_changed, bench,
                        &error) < 0)
                fail_msg("%s", error.text);
}

static void end(struct bench *bench) {
        dnsmasq_free(bench->dnsmasq);
        loop_free(bench->loop);
        world_end(&bench->world);
}

static char *read_text(const struct bench *bench, const char *name) {
        _cleanup_free_ char *path = text_format("%s/%s", bench->world.configuration.runtime_directory, name);
        char *text = NULL;
        size_t size;

        assert_int_equal(file_read(path, 1 << 20, &text, &size, NULL), 0);
        return text;
}

static int on_time(struct source *source, void *data) {
        loop_exit(data, -ETIMEDOUT);
        return 0;
}

static void run_until_up(struct bench *bench) {
        struct source *timer;

        assert_int_equal(loop_add_timer(bench->loop, &timer, on_time, bench->loop), 0);
        source_arm(timer, 60000000);
        while (!dnsmasq_is_up(bench->dnsmasq))
                if (loop_run(bench->loop) < 0)
                        fail_msg("dnsmasq does not come up: %s", dnsmasq_message(bench->dnsmasq));
        source_free(timer);
}

static void test_comes_up_in_every_way(void **state) {
        static const char *const changes[] = {
                NULL,
                "{\"mode\":\"host\"}",
                "{\"dhcp\":false}",
                "{\"dns\":false}",
                "{\"dns\":false,\"ipv6_prefix\":\"\"}",
                "{\"dhcp\":false,\"dns\":false}",
                "{\"router_advertisement\":false}",
                "{\"ipv6_prefix\":\"\"}",
                "{\"mtu\":9000,\"mask\":\"255.255.0.0\"}",
                "{\"mask\":\"255.255.255.252\"}",
                "{\"gateway\":\"192.168.64.254\"}",
        };

        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
                struct bench bench;
                make(&bench, changes[i]);
                const struct dnsmasq_host hosts[] = { { { { 2, 0, 0, 0, 0, 1 } }, 0xc0a84002, "web" } };
                assert_int_equal(dnsmasq_set_hosts(bench.dnsmasq, hosts, 1, true, NULL), 0);
                dnsmasq_start(bench.dnsmasq);
                run_until_up(&bench);
                assert_string_equal(dnsmasq_message(bench.dnsmasq), "");
                end(&bench);
        }
}

/* What one line of dhcp-hosts becomes in dnsmasq itself: words that mean something there are names here. */
static void test_names(void **state) {
        static const char *const names[] = { "web", "ignore", "infinite", "120", "45m", "2h",
                                             "3d",  "1w",     "7",        "s",   "x-y", "Web" };
        struct bench bench;
        struct dnsmasq_host hosts[ARRAY_SIZE(names)];

        make(&bench, NULL);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                hosts[i] = (struct dnsmasq_host){ { { 2, 0, 0, 0, 0, (uint8_t)i } },
                                                  0xc0a84002 + (uint32_t)i,
                                                  names[i] };
        assert_int_equal(dnsmasq_set_hosts(bench.dnsmasq, hosts, ARRAY_SIZE(names), true, NULL), 0);
        _cleanup_free_ char *text = read_text(&bench, "dhcp-hosts");
        char *rest = NULL, *line = strtok_r(text, "\n", &rest);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++, line = strtok_r(NULL, "\n", &rest)) {
                assert_non_null(line);
                /* With its domain behind it no name is a number, a time or a keyword. */
                _cleanup_free_ char *end_of_line = text_format(",%s.berth.internal", names[i]);
                size_t length = strlen(line);
                assert_true(length > strlen(end_of_line));
                assert_string_equal(line + length - strlen(end_of_line), end_of_line);
        }
        assert_null(line);
        end(&bench);
}

static void test_files(void **state) {
        struct bench bench;

        make(&bench, NULL);
        const struct dnsmasq_host hosts[] = {
                { { { 2, 0, 0, 0, 0, 1 } }, 0xc0a84002, "web" },
                { { { 2, 0, 0, 0, 0, 2 } }, 0xc0a84003, NULL },
                { { { 2, 0, 0, 0, 0, 3 } }, 0, "no-address" },
        };
        assert_int_equal(dnsmasq_set_hosts(bench.dnsmasq, hosts, 3, true, NULL), 0);
        _cleanup_free_ char *names = read_text(&bench, "hosts"), *leases = read_text(&bench, "dhcp-hosts");
        assert_non_null(strstr(names, "192.168.64.1 host gateway\n"));
        assert_non_null(strstr(names, "fd12:3456:789a:40::1 host gateway\n"));
        assert_non_null(strstr(names, "192.168.64.2 web\n"));
        assert_non_null(strstr(leases, "02:00:00:00:00:01,192.168.64.2,[fd12:3456:789a:40::2]"));
        assert_non_null(strstr(leases, "02:00:00:00:00:02,192.168.64.3,[fd12:3456:789a:40::3]\n"));
        assert_null(strstr(names, "no-address"));
        assert_null(strstr(leases, "no-address"));
        assert_int_equal(dnsmasq_set_hosts(bench.dnsmasq, NULL, 0, false, NULL), 0);
        _cleanup_free_ char *none = read_text(&bench, "hosts");
        assert_string_equal(none, "192.168.64.1 host gateway\n");
        end(&bench);
}

static pid_t pid_of(const struct bench *bench) {
        json_t *description = dnsmasq_describe(bench->dnsmasq);
        pid_t pid = (pid_t)json_integer_value(json_object_get(description, "pid"));

        json_decref(description);
        return pid;
}

static void test_killed(void **state) {
        struct bench bench;

        make(&bench, NULL);
        assert_int_equal(dnsmasq_set_hosts(bench.dnsmasq, NULL, 0, false, NULL), 0);
        dnsmasq_start(bench.dnsmasq);
        run_until_up(&bench);
        pid_t first = pid_of(&bench);
        _cleanup_fd_ int pidfd = process_open(first);
        assert_int_equal(process_signal(pidfd, 9), 0);
        while (dnsmasq_is_up(bench.dnsmasq))
                assert_int_equal(loop_run(bench.loop), 0);
        run_until_up(&bench);
        assert_int_not_equal(pid_of(&bench), first);
        end(&bench);
}

HARNESS_MAIN(cmocka_unit_test(test_comes_up_in_every_way), cmocka_unit_test(test_names),
             cmocka_unit_test(test_files), cmocka_unit_test(test_killed))
