/* broker/prefix, broker/routes, broker/subnet, broker/installation, broker/configuration */
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/address.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "broker/configuration.h"

static struct prefix ipv4(const char *text, unsigned length) {
        uint32_t address;

        assert_int_equal(ipv4_parse(text, &address), 0);
        return prefix_ipv4(address, length);
}

static void test_overlap(void **state) {
        const struct {
                struct prefix a, b;
                bool overlap;
        } cases[] = {
                { ipv4("192.168.64.0", 24), ipv4("192.168.64.0", 24), true },
                { ipv4("192.168.64.0", 24), ipv4("192.168.65.0", 24), false },
                { ipv4("192.168.64.0", 24), ipv4("192.168.0.0", 16), true },
                { ipv4("192.168.64.77", 32), ipv4("192.168.64.0", 24), true },
                { ipv4("192.168.64.0", 18), ipv4("192.168.127.255", 32), true },
                { ipv4("192.168.64.0", 18), ipv4("192.168.128.0", 32), false },
                { ipv4("0.0.0.0", 0), ipv4("10.0.0.0", 8), true },
                { ipv4("192.168.64.0", 24), { .family = AF_UNSPEC }, false },
                { { .family = AF_UNSPEC }, { .family = AF_UNSPEC }, false },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(prefix_overlaps(&cases[i].a, &cases[i].b), cases[i].overlap);
                assert_int_equal(prefix_overlaps(&cases[i].b, &cases[i].a), cases[i].overlap);
        }
        char text[PREFIX_TEXT_SIZE];
        struct prefix cut = ipv4("10.255.255.255", 12);
        assert_string_equal(prefix_format(&cut, text), "10.240.0.0/12");
}

static void claim(struct claims *claims, struct prefix prefix, enum claim_kind kind) {
        assert_int_equal(claims_add(claims, &prefix, kind, "somebody"), 0);
}

static void test_pick(void **state) {
        struct claims claims = CLAIMS_INIT;
        const struct claim *evicted;
        unsigned octet;

        assert_int_equal(subnet_pick(&claims, &octet, &evicted), 0);
        assert_int_equal(octet, 64);
        claim(&claims, ipv4("192.168.64.0", 23), CLAIM_ROUTE);
        claim(&claims, ipv4("192.168.66.0", 24), CLAIM_REMEMBERED);
        claim(&claims, ipv4("192.168.67.200", 32), CLAIM_LIVE);
        assert_int_equal(subnet_pick(&claims, &octet, &evicted), 0);
        assert_int_equal(octet, 68);
        assert_null(evicted);

        /* All else is taken: what is merely remembered gives way. */
        for (unsigned i = 68; i <= 254; i++)
                claim(&claims, subnet_automatic(i), CLAIM_LIVE);
        assert_int_equal(subnet_pick(&claims, &octet, &evicted), 0);
        assert_int_equal(octet, 66);
        assert_int_equal(evicted->kind, CLAIM_REMEMBERED);
        claim(&claims, ipv4("192.168.0.0", 16), CLAIM_ROUTE);
        assert_int_equal(subnet_pick(&claims, &octet, &evicted), -EADDRINUSE);
        claims_deinit(&claims);
}

static void test_installation(void **state) {
        char *directory = harness_make_directory();
        char *path = text_format("%s/installation.json", directory);
        struct installation installation;
        struct remembered remembered;
        char key[33], text[INET6_ADDRSTRLEN];
        unsigned index;

        assert_int_equal(installation_load(path, &installation, NULL), 0);
        assert_int_equal(installation.ula.s6_addr[0], 0xfd);
        assert_int_equal(strlen(installation.key), 32);
        strcpy(key, installation.key);
        struct in6_addr ula = installation.ula;
        assert_int_equal(installation_pick_index(&installation, 64, &index), 0);
        assert_int_equal(index, 64);
        remembered = (struct remembered){ .gateway = 0xc0a84001, .index = 64 };
        assert_int_equal(installation_remember(&installation, "shared", &remembered), 0);
        assert_int_equal(installation_pick_index(&installation, 64, &index), 0);
        assert_int_equal(index, 256);
        remembered = (struct remembered){ .index = 256 };
        assert_int_equal(installation_remember(&installation, "lab", &remembered), 0);
        assert_int_equal(installation_pick_index(&installation, 0, &index), 0);
        assert_int_equal(index, 257);
        assert_int_equal(installation_save(&installation, NULL), 0);
        installation_deinit(&installation);

        assert_int_equal(installation_load(path, &installation, NULL), 0);
        assert_string_equal(installation.key, key);
        assert_memory_equal(&installation.ula, &ula, sizeof(ula));
        assert_int_equal(installation_find(&installation, "shared", &remembered), 0);
        assert_int_equal(remembered.gateway, 0xc0a84001);
        assert_int_equal(remembered.index, 64);
        assert_int_equal(installation_find(&installation, "host", &remembered), -ENOENT);
        struct in6_addr prefix = installation_prefix(&installation, 0x140),
                        host = installation_host(&installation);
        assert_memory_equal(&prefix, &ula, 6);
        assert_non_null(strstr(ipv6_format(&prefix, text), ":140::"));
        assert_non_null(strstr(ipv6_format(&host, text), ":ffff::1"));
        installation_deinit(&installation);

        /* What cannot be understood is kept, and replaced. */
        assert_int_equal(file_write(path, "{\"ula\": \"fd", 10, 0600, false, NULL), 0);
        assert_int_equal(installation_load(path, &installation, NULL), 0);
        assert_string_not_equal(installation.key, key);
        installation_deinit(&installation);
        char *command = text_format("ls %s/installation.json.corrupt-[0-9]* >/dev/null", directory);
        assert_int_equal(system(command), 0);
        free(command);
        free(path);
        harness_remove_directory(directory);
}

/* --- With a host's real routes, in a network namespace of our own --- */

static void add_address(const char *address, const char *mask) {
        struct sockaddr_in *value;
        struct ifreq request = { .ifr_name = "lo" };
        uint32_t bits;
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        value = (struct sockaddr_in *)&request.ifr_addr;
        value->sin_family = AF_INET;
        assert_int_equal(ipv4_parse(address, &bits), 0);
        value->sin_addr.s_addr = htonl(bits);
        assert_int_equal(ioctl(fd, SIOCSIFADDR, &request), 0);
        assert_int_equal(ipv4_parse(mask, &bits), 0);
        value->sin_addr.s_addr = htonl(bits);
        assert_int_equal(ioctl(fd, SIOCSIFNETMASK, &request), 0);
        request.ifr_flags = IFF_UP;
        assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
        close(fd);
}

static int resolve(struct installation *installation, const char *name, const char *text, json_t **ret,
                   struct error *error) {
        const struct configuration_context context = {
                .installation = installation,
                .runtime_directory = "/run/x",
                .state_directory = "/var/x",
                .idle_timeout = 120,
        };
        struct claims live = CLAIMS_INIT;
        struct definition *definition;

        assert_int_equal(definition_parse(name, "file", text, strlen(text), &definition, error), 0);
        struct prefix other = ipv4("192.168.65.0", 24);
        assert_int_equal(claims_add(&live, &other, CLAIM_LIVE, "other"), 0);
        int r = configuration_resolve(definition, &context, &live, ret, error);
        claims_deinit(&live);
        definition_free(definition);
        return r;
}

static void expect_gateway(struct installation *installation, const char *name, const char *text,
                           const char *gateway, json_int_t index) {
        struct error error = ERROR_INIT;
        json_t *configuration = NULL;

        if (resolve(installation, name, text, &configuration, &error) < 0)
                fail_msg("%s: %s", name, error.text);
        assert_string_equal(json_string_value(json_object_get(configuration, "gateway")), gateway);
        assert_int_equal(json_integer_value(json_object_get(configuration, "index")), index);
        json_decref(configuration);
}

static void expect_collision(struct installation *installation, const char *text, const char *expected) {
        struct error error = ERROR_INIT;
        json_t *configuration = NULL;

        assert_int_equal(resolve(installation, "configured", text, &configuration, &error), -EADDRINUSE);
        assert_non_null(strstr(error.text, expected));
}

static void resolve_in_namespace(const char *path) {
        struct installation installation;

        assert_int_equal(installation_load(path, &installation, NULL), 0);
        add_address("192.168.64.9", "255.255.255.0");
        expect_gateway(&installation, "a", "{}", "192.168.66.1", 66);
        expect_gateway(&installation, "b", "{}", "192.168.67.1", 67);
        expect_gateway(&installation, "a", "{}", "192.168.66.1", 66);
        expect_gateway(&installation, "c", "{\"subnet\": \"10.1.0.1\", \"mask\": \"255.255.0.0\"}",
                       "10.1.0.1", 256);
        expect_gateway(&installation, "d", "{\"subnet\": \"10.2.0.1\", \"mask\": \"255.255.0.0\"}",
                       "10.2.0.1", 257);
        expect_collision(&installation, "{\"subnet\": \"192.168.64.200\", \"mask\": \"255.255.255.128\"}",
                         "the host's route 192.168.64");
        expect_collision(&installation, "{\"subnet\": \"192.168.65.1\", \"mask\": \"255.255.255.0\"}",
                         "used by network \"other\"");
}

static void resolve_after_move(const char *path) {
        struct installation installation;

        /* Another broker's time; the host has come to use what was a's. The index, and so IPv6, stays. */
        assert_int_equal(installation_load(path, &installation, NULL), 0);
        add_address("192.168.66.9", "255.255.255.0");
        expect_gateway(&installation, "a", "{}", "192.168.64.1", 66);
        expect_gateway(&installation, "b", "{}", "192.168.67.1", 67);
        expect_gateway(&installation, "e", "{}", "192.168.68.1", 68);
        /* A whole VPN over everything. */
        add_address("192.168.200.9", "255.255.0.0");
        struct error error = ERROR_INIT;
        json_t *configuration = NULL;
        assert_int_equal(resolve(&installation, "f", "{}", &configuration, &error), -EADDRINUSE);
        assert_non_null(strstr(error.text, "no free subnet"));
}

/* In a child, as there is no way back from a new network namespace for an ordinary user. */
static void run_in_namespace(void (*fn)(const char *path), const char *path) {
        int status;

        pid_t pid = fork();
        if (pid == 0) {
                if (unshare(geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) < 0)
                        _exit(77);
                fn(path); /* a failed assertion leaves through the rest of the tests, with a status that is
                             not 0 */
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                skip();
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_configuration(void **state) {
        char *directory = harness_make_directory();
        char *path = text_format("%s/installation.json", directory);

        run_in_namespace(resolve_in_namespace, path);
        run_in_namespace(resolve_after_move, path);
        free(path);
        harness_remove_directory(directory);
}

HARNESS_MAIN(cmocka_unit_test(test_overlap), cmocka_unit_test(test_pick), cmocka_unit_test(test_installation),
             cmocka_unit_test(test_configuration))
