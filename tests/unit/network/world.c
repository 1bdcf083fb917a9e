#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "network/router.h"

void world_enter(void) {
        if (unshare(CLONE_NEWNET) < 0)
                skip();
}

json_t *world_configure(const char *directory, const char *changes) {
        _cleanup_free_ char *runtime = text_format("%s/runtime", directory),
                            *state = text_format("%s/state", directory);
        json_t *body = json_pack(
                "{ss ss ss sb ss ss ss ss ss ss si si sb sb sb sb sb sb s[] si si ss}", "command",
                "configure", "name", "shared", "mode", "shared", "system", 1, "runtime_directory", runtime,
                "state_directory", state, "gateway", "192.168.64.1", "mask", "255.255.255.0", "ipv6_prefix",
                "fd12:3456:789a:40::", "host_ipv6", "fd12:3456:789a:ffff::1", "index", 64, "mtu", 1500,
                "dhcp", 1, "dns", 1, "nat44", 1, "nat66", 1, "router_advertisement", 1, "anti_spoofing", 1,
                "dhcp_reservations", "idle_timeout_ms", 1000, "max_interfaces_per_user", 100, "key",
                "00112233445566778899aabbccddeeff");
        json_t *other = changes ? json_loads(changes, 0, NULL) : json_object(), *value;
        const char *key;
        void *next;

        assert_non_null(body);
        assert_non_null(other);
        assert_int_equal(json_object_update(body, other), 0);
        json_object_foreach_safe(body, next, key, value) if (json_is_null(value)) json_object_del(body, key);
        json_decref(other);
        return body;
}

static void count_change(void *data) {
        struct world *world = data;

        world->changes++;
}

void world_make_here(struct world *world, const char *changes) {
        const struct ruleset_uplink uplink = { .host4 = 0xa9fe4001U };
        struct error error = ERROR_INIT;

        *world = (struct world){ .directory = harness_make_directory() };
        json_t *body = world_configure(world->directory, changes);
        int r = configuration_init(&world->configuration, body, &error);
        json_decref(body);
        assert_string_equal(error.text, "");
        assert_int_equal(r, 0);
        assert_int_equal(mkdir(world->configuration.runtime_directory, 0755), 0);
        assert_int_equal(mkdir(world->configuration.state_directory, 0755), 0);

        const struct configuration *c = &world->configuration;
        assert_int_equal(links_new(&world->links, &error), 0);
        struct ports_context context = { c, world->links, NULL, count_change, world };
        if (router_set_up(c, world->links, &error) < 0 || addresses_new(&world->addresses, c, &error) < 0)
                fail_msg("%s", error.text);
        context.addresses = world->addresses;
        assert_int_equal(ports_new(&world->ports, &context), 0);
        if (ports_adopt(world->ports, &error) < 0 || ruleset_set_network(c, &uplink, NULL, 0, &error) < 0)
                fail_msg("%s", error.text);
}

void world_make(struct world *world, const char *changes) {
        world_enter();
        world_make_here(world, changes);
}

void world_end(struct world *world) {
        ports_free(world->ports);
        addresses_free(world->addresses);
        links_free(world->links);
        configuration_deinit(&world->configuration);
        harness_remove_directory(world->directory);
        *world = (struct world){};
}

int world_try(struct world *world, struct port_request request, struct nic *ret, struct error *error) {
        int fds[TAP_QUEUES_MAX];
        size_t n_fds = 0;
        json_t *interface = NULL;

        int r = ports_start(world->ports, &request, fds, &n_fds, &interface, error);
        if (r < 0) {
                assert_null(interface);
                return r;
        }
        const char *address = json_string_value(json_object_get(interface, "address"));
        struct nic nic = { .fd = fds[0], .n_others = n_fds - 1 };
        memcpy(nic.others, fds + 1, nic.n_others * sizeof(int));
        snprintf(nic.device, sizeof(nic.device), "%s", json_string_value(json_object_get(interface, "port")));
        assert_int_equal(mac_parse(json_string_value(json_object_get(interface, "mac")), &nic.mac), 0);
        if (address)
                assert_int_equal(ipv4_parse(address, &nic.address), 0);
        json_decref(interface);
        *ret = nic;
        return 0;
}

struct nic world_start(struct world *world, struct port_request request) {
        struct error error = ERROR_INIT;
        struct nic nic = { .fd = -1 };

        if (world_try(world, request, &nic, &error) < 0)
                fail_msg("%s", error.text);
        return nic;
}

void world_unplug(struct world *world, struct nic *nic) {
        for (size_t i = 0; i < nic->n_others; i++)
                fd_close(nic->others[i]);
        nic->n_others = 0;
        nic->fd = fd_close(nic->fd);
        ports_look(world->ports);
}

char *world_rules(const char *family) {
        _cleanup_free_ char *command = text_format("nft list table %s berth 2>/dev/null", family);
        char *text = NULL, buffer[4096];
        size_t size = 0, n;

        FILE *pipe = popen(command, "re"), *f = open_memstream(&text, &size);
        assert_non_null(pipe);
        assert_non_null(f);
        while ((n = fread(buffer, 1, sizeof(buffer), pipe)) > 0)
                fwrite(buffer, 1, n, f);
        pclose(pipe);
        fclose(f);
        return text;
}
