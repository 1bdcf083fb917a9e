/* network/ports */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "frame.h"
#include "network/namespace.h"

#define NOBODY 65534

static void test_start_and_stop(void **state) {
        struct world world;
        struct error error = ERROR_INIT;

        world_make(&world, NULL);
        struct nic a = world_start(&world, (struct port_request){ .name = "web", .lease = 7 });
        assert_string_equal(a.device, "port1");
        assert_int_equal(a.address, 0xc0a84002U);
        assert_int_equal(ports_count(world.ports), 1);
        assert_int_equal(world.changes, 1);
        assert_int_equal(ports_stop(world.ports, 8, "port1", &error), -ENOENT); /* another's */
        assert_int_equal(ports_stop(world.ports, 7, "port2", &error), -ENOENT);
        assert_int_equal(ports_stop(world.ports, 7, "port1", &error), 0);
        assert_int_equal(links_find(world.links, "port1"), -ENODEV);
        assert_int_equal(ports_count(world.ports), 0);
        assert_int_equal(world.changes, 2);
        world_unplug(&world, &a);

        struct nic again = world_start(&world,
                                       (struct port_request){ .name = "web", .queues = 3, .mtu = 1400 });
        assert_true(mac_equal(&again.mac, &a.mac));
        assert_int_equal(again.address, a.address);
        assert_int_equal(again.n_others, 2);
        world_unplug(&world, &again);
        world_end(&world);
}

static void test_described(void **state) {
        struct world world;
        struct frame f;

        world_make(&world, NULL);
        struct nic a = world_start(&world, (struct port_request){ .name = "a", .lease = 3 });
        struct nic b = world_start(&world,
                                   (struct port_request){ .id = "123e4567-e89b-12d3-a456-426614174000",
                                                          .mac = "52:54:00:00:00:01",
                                                          .mtu = 1400 });
        frame_udp4(&f, &b.mac, &a.mac, a.address, b.address, 1, 2, "x", 1);
        assert_true(frame_passes(&f, &a, &b));
        json_t *array = ports_describe(world.ports), *first = json_array_get(array, 0),
               *second = json_array_get(array, 1);
        assert_int_equal(json_array_size(array), 2);
        assert_string_equal(json_string_value(json_object_get(first, "name")), "a");
        assert_int_equal(json_integer_value(json_object_get(first, "lease")), 3);
        assert_true(json_integer_value(json_object_get(first, "tx_packets")) > 0); /* the VM's view */
        assert_true(json_integer_value(json_object_get(second, "rx_packets")) > 0);
        assert_string_equal(json_string_value(json_object_get(second, "mac")), "52:54:00:00:00:01");
        assert_string_equal(json_string_value(json_object_get(second, "ipv6_address")),
                            "fd12:3456:789a:40::3");
        assert_int_equal(json_integer_value(json_object_get(second, "mtu")), 1400);
        assert_int_equal(json_integer_value(json_object_get(second, "max_packet_size")), 1414);
        json_decref(array);
        world_unplug(&world, &a);
        world_unplug(&world, &b);
        world_end(&world);
}

/* Gone with the last of its file descriptors. */
static void test_vanish(void **state) {
        struct world world;

        world_make(&world, NULL);
        struct nic a = world_start(&world, (struct port_request){ .name = "a", .queues = 2 });
        a.fd = fd_close(a.fd);
        ports_look(world.ports);
        assert_int_equal(ports_count(world.ports), 1);
        a.others[0] = fd_close(a.others[0]);
        ports_look(world.ports);
        assert_int_equal(ports_count(world.ports), 0);
        _cleanup_free_ char *rules = world_rules("bridge");
        assert_null(strstr(rules, "port1"));
        world_end(&world);
}

static void test_end_of_lease(void **state) {
        struct world world;

        world_make(&world, NULL);
        struct nic a = world_start(&world, (struct port_request){ .lease = 1 });
        struct nic b = world_start(&world, (struct port_request){ .lease = 2 });
        struct nic c = world_start(&world, (struct port_request){ .lease = 1 });
        unsigned before = world.changes;
        ports_end_lease(world.ports, 1);
        assert_int_equal(world.changes, before + 1);
        assert_int_equal(ports_count(world.ports), 1);
        assert_true(links_find(world.links, b.device) > 0);
        ports_end_lease(world.ports, 9);
        assert_int_equal(world.changes, before + 1);
        world_unplug(&world, &a);
        world_unplug(&world, &b);
        world_unplug(&world, &c);
        world_end(&world);
}

/* Each is refused with its code and a text, and leaves no device, no rule, no address and no file descriptor.
 */
static void test_refusals(void **state) {
        static const struct {
                struct port_request request;
                int code;
                const char *text;
        } cases[] = {
                { { .name = "a b" }, -EINVAL, "a b" },
                { { .name = "" }, -EINVAL, "label" },
                { { .name = "x\n1.2.3.4 y" }, -EINVAL, "label" },
                { { .name = "host" }, -EINVAL, "host" },
                { { .name = "Gateway" }, -EINVAL, "Gateway" },
                { { .name = "localhost" }, -EINVAL, "localhost" },
                { { .name = "wpad" }, -EINVAL, "wpad" },
                { { .name = "ONE" }, -EEXIST, "ONE" },
                { { .id = "7" }, -EINVAL, "UUID" },
                { { .id = "123E4567-e89b-12d3-a456-426614174000" }, -EINVAL, "UUID" },
                { { .id = "123e4567-e89b-12d3-a456-426614174000" }, -EEXIST, "id" },
                { { .mac = "52:54:00:00:00" }, -EINVAL, "52:54:00:00:00" },
                { { .mac = "01:00:5e:00:00:01" }, -EINVAL, "01:00:5e:00:00:01" },
                { { .mac = "00:00:00:00:00:00" }, -EINVAL, "00:00:00:00:00:00" },
                { { .mac = "52:54:00:00:00:01" }, -EADDRINUSE, "52:54:00:00:00:01" },
                { { .address = "192.168.64" }, -EINVAL, "192.168.64" },
                { { .address = "192.168.64.2" }, -EADDRINUSE, "192.168.64.2" },
                { { .address = "192.168.64.1" }, -EINVAL, "192.168.64.1" },
                { { .address = "10.0.0.1" }, -EINVAL, "10.0.0.1" },
                { { .mtu = 1501 }, -EINVAL, "1501" },
                { { .uid = 7 }, -EDQUOT, "7" },
        };
        struct world world;

        world_make(&world, "{\"max_interfaces_per_user\":2}");
        struct nic one = world_start(&world,
                                     (struct port_request){ .name = "one", .mac = "52:54:00:00:00:01" });
        struct nic two = world_start(
                &world, (struct port_request){ .id = "123e4567-e89b-12d3-a456-426614174000", .uid = 7 });
        struct nic three = world_start(&world, (struct port_request){ .uid = 7 });
        _cleanup_free_ char *before = world_rules("bridge");
        size_t fds = fd_count_open();

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct error error = ERROR_INIT;
                struct nic nic;

                int r = world_try(&world, cases[i].request, &nic, &error);
                if (r != cases[i].code || !strstr(error.text, cases[i].text))
                        fail_msg("case %zu: %d, %s", i, r, error.text);
                assert_int_equal(fd_count_open(), fds);
        }
        _cleanup_free_ char *after = world_rules("bridge");
        assert_string_equal(after, before);
        assert_int_equal(ports_count(world.ports), 3);
        assert_int_equal(links_find(world.links, "port4"), -ENODEV);
        struct nic four = world_start(&world, (struct port_request){});
        assert_int_equal(four.address, 0xc0a84005U); /* none was lost */
        world_unplug(&world, &one);
        world_unplug(&world, &two);
        world_unplug(&world, &three);
        world_unplug(&world, &four);
        world_end(&world);
}

/* What fails late, when the address is taken and the device is there. */
static void test_late_failures(void **state) {
        struct world world;
        struct error error = ERROR_INIT;
        struct nic nic;

        world_make(&world, NULL);
        size_t fds = fd_count_open();
        assert_int_equal(system("nft delete table bridge berth"), 0);
        assert_true(world_try(&world, (struct port_request){ .name = "a" }, &nic, &error) < 0);
        assert_int_equal(links_find(world.links, "port1"), -ENODEV);
        assert_int_equal(ports_count(world.ports), 0);
        assert_int_equal(fd_count_open(), fds);

        const struct ruleset_uplink uplink = {};
        assert_int_equal(ruleset_set_network(&world.configuration, &uplink, NULL, 0, &error), 0);
        _cleanup_free_ char *before = world_rules("bridge");
        assert_int_equal(links_delete(world.links, RULESET_BRIDGE, &error), 0);
        assert_true(world_try(&world, (struct port_request){ .name = "a" }, &nic, &error) < 0);
        assert_int_equal(links_find(world.links, "port1"), -ENODEV);
        assert_int_equal(fd_count_open(), fds);
        _cleanup_free_ char *after = world_rules("bridge");
        assert_null(strstr(after, "port1"));
        assert_non_null(before);
        world_end(&world);
}

/* A device that is in the way of a name is passed over. */
static void test_foreign_device(void **state) {
        struct world world;
        struct error error = ERROR_INIT;
        int fds[TAP_QUEUES_MAX];

        world_make(&world, NULL);
        assert_int_equal(tap_open("port1", 1, fds, &error), 0);
        struct nic a = world_start(&world, (struct port_request){ .name = "a" });
        assert_string_equal(a.device, "port2");
        fd_close(fds[0]);
        world_unplug(&world, &a);
        world_end(&world);
}

static void count_change(void *data) {
        ++*(unsigned *)data;
}

/* The process is replaced by another, in the same namespace, and the taps live on. */
static void test_adoption(void **state) {
        struct world world;
        struct error error = ERROR_INIT;

        world_make(&world, NULL);
        struct nic a = world_start(&world,
                                   (struct port_request){ .name = "a",
                                                          .id = "123e4567-e89b-12d3-a456-426614174000",
                                                          .mac = "52:54:00:00:00:01",
                                                          .mtu = 1400,
                                                          .queues = 2,
                                                          .isolated = true,
                                                          .lease = 5000000000,
                                                          .uid = 1000 });
        struct nic b = world_start(&world, (struct port_request){ .address = "192.168.64.99" });
        json_t *before = ports_describe(world.ports);

        ports_free(world.ports);
        addresses_free(world.addresses);
        assert_int_equal(addresses_new(&world.addresses, &world.configuration, &error), 0);
        unsigned changes = 0;
        const struct ports_context context = { &world.configuration, world.links, world.addresses,
                                               count_change, &changes };
        assert_int_equal(ports_new(&world.ports, &context), 0);
        assert_int_equal(ports_adopt(world.ports, &error), 0);
        json_t *after = ports_describe(world.ports);
        assert_true(json_equal(before, after));
        json_decref(before);
        json_decref(after);

        struct port_summary summary[3];
        assert_int_equal(ports_summarize(world.ports, summary, 3), 2);
        assert_true(summary[0].isolated);
        assert_int_equal(summary[1].address, 0xc0a84063U);
        struct nic nic;
        assert_int_equal(world_try(&world, (struct port_request){ .name = "A" }, &nic, &error), -EEXIST);
        assert_int_equal(world_try(&world, (struct port_request){ .address = "192.168.64.99" }, &nic, &error),
                         -EADDRINUSE);
        ports_end_lease(world.ports, 5000000000);
        assert_int_equal(ports_count(world.ports), 1);
        assert_int_equal(changes, 1);
        world_unplug(&world, &a);
        world_unplug(&world, &b);
        assert_int_equal(ports_count(world.ports), 0);
        world_end(&world);
}

/* Devices whose alias is not ours, or is nonsense, are nobody's ports. */
static void test_foreign_aliases(void **state) {
        static const char *const aliases[] = { "",
                                               "berth",
                                               "berth ",
                                               "berth 1",
                                               "hello",
                                               "berth x x x x x x x x x",
                                               "berth 1 0 xx:00:00:00:00:01 192.168.64.2 1500 1 0 - -",
                                               "berth 1 0 52:54:00:00:00:01 192.168.64 1500 1 0 - -" };
        struct world world;
        struct error error = ERROR_INIT;
        int fds[TAP_QUEUES_MAX];

        world_make(&world, NULL);
        assert_int_equal(tap_open("other", 1, fds, &error), 0);
        for (size_t i = 0; i < ARRAY_SIZE(aliases); i++) {
                assert_int_equal(links_set_port(world.links, "other", RULESET_BRIDGE, aliases[i],
                                                &(struct mac){ { 2 } }, 1500, false, &error),
                                 0);
                assert_int_equal(ports_adopt(world.ports, &error), 0);
                assert_int_equal(ports_count(world.ports), 0);
        }
        fd_close(fds[0]);
        world_end(&world);
}

/*
 * Who holds a tap's file descriptor may change the device's own address (SIOCSIFHWADDR on it asks for no
 * privilege), and the bridge would then keep what is for that address to itself.
 */
static void test_tampered_device(void **state) {
        struct world world;
        struct ifreq ifr = { .ifr_hwaddr.sa_family = ARPHRD_ETHER };
        struct frame f;

        world_make(&world, NULL);
        struct nic a = world_start(&world, (struct port_request){ .name = "a" });
        struct nic b = world_start(&world, (struct port_request){ .name = "b" });
        struct nic c = world_start(&world, (struct port_request){ .name = "c" });
        memcpy(ifr.ifr_hwaddr.sa_data, &b.mac, 6);
        assert_int_equal(ioctl(a.fd, SIOCSIFHWADDR, &ifr), 0);
        ports_look(world.ports);
        frame_udp4(&f, &b.mac, &c.mac, c.address, b.address, 1, 2, "x", 1);
        assert_true(frame_passes(&f, &c, &b));
        assert_int_equal(links_find(world.links, a.device), -ENODEV); /* it was removed */
        world_unplug(&world, &a);
        world_unplug(&world, &b);
        world_unplug(&world, &c);
        world_end(&world);
}

/* The same, as a user without any right: in a user namespace of its own. */
/* A node that everyone may open, as distributions have it, whatever this machine's is. */
static int give_tun_to_all(void) {
        const mode_t mode = umask(0);

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", "/dev/net", "tmpfs", 0, NULL) < 0 ||
            mknod("/dev/net/tun", S_IFCHR | 0666, makedev(10, 200)) < 0)
                return -errno;
        umask(mode);
        return 0;
}

static int run_unprivileged(void) {
        struct namespace namespace = NAMESPACE_INIT;
        struct world world;
        struct frame f;

        if (give_tun_to_all() < 0)
                return 77;
        if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0 ||
            prctl(PR_SET_DUMPABLE, 1) < 0)
                return 98;
        if (namespace_create(false, &namespace, NULL) < 0 || tap_check(NULL) < 0)
                return 77;
        world_make_here(&world, "{\"system\":false}");
        struct nic a = world_start(&world, (struct port_request){ .name = "a", .queues = 2 });
        struct nic b = world_start(&world, (struct port_request){ .name = "b", .isolated = true });
        struct nic c = world_start(&world, (struct port_request){ .name = "c" });
        frame_udp4(&f, &c.mac, &a.mac, a.address, c.address, 1, 2, "x", 1);
        bool own = frame_passes(&f, &a, &c);
        frame_udp4(&f, &c.mac, &a.mac, b.address, c.address, 1, 2, "x", 1);
        bool forged = frame_passes(&f, &a, &c);
        world_unplug(&world, &a);
        bool gone = ports_count(world.ports) == 2;
        world_unplug(&world, &b);
        world_unplug(&world, &c);
        world_end(&world);
        return own && !forged && gone ? 0 : 1;
}

static void test_unprivileged(void **state) {
        int status;

        if (geteuid() != 0)
                skip();
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                _exit(run_unprivileged());
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
                skip();
        assert_int_equal(WEXITSTATUS(status), 0);
}

HARNESS_MAIN(cmocka_unit_test(test_start_and_stop), cmocka_unit_test(test_described),
             cmocka_unit_test(test_vanish), cmocka_unit_test(test_end_of_lease),
             cmocka_unit_test(test_refusals), cmocka_unit_test(test_late_failures),
             cmocka_unit_test(test_foreign_device), cmocka_unit_test(test_adoption),
             cmocka_unit_test(test_foreign_aliases), cmocka_unit_test(test_tampered_device),
             cmocka_unit_test(test_unprivileged))
