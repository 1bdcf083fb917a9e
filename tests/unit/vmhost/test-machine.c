/* vmhost/image, vmhost/linkage, vmhost/listener, vmhost/scrollback: the small parts of a machine. */
#include "harness.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "vmhost/image.h"
#include "vmhost/linkage.h"
#include "vmhost/listener.h"
#include "vmhost/scrollback.h"

/* ---- Images ---- */

/* A qcow2 header as far as the name of the backing goes, which is said to be `size` bytes at `offset`. */
static size_t make_image(char *buffer, const char *name, uint64_t offset, uint32_t size) {
        const uint32_t magic = htobe32(0x514649fb), version = htobe32(3);
        const uint64_t place = htobe64(offset);
        const uint32_t length = htobe32(size);

        memset(buffer, 0, 4096);
        memcpy(buffer, &magic, 4);
        memcpy(buffer + 4, &version, 4);
        memcpy(buffer + 8, &place, 8);
        memcpy(buffer + 16, &length, 4);
        memcpy(buffer + 512, name, strlen(name));
        return 512 + strlen(name);
}

static void test_image(void **state) {
        static const struct {
                const char *name;
                uint64_t offset;
                int32_t size; /* negative: the name's own */
                int result;
                const char *backing; /* "./" stands for the image's directory */
        } cases[] = {
                { "", 0, 0, 0, NULL },
                { "/images/base.qcow2", 512, -1, 0, "/images/base.qcow2" },
                { "../base.qcow2", 512, -1, 0, "./../base.qcow2" },
                { "file:base", 512, -1, 0, "./base" },
                { "a/with:colon", 512, -1, 0, "./a/with:colon" },
                { "nbd://host/export", 512, -1, -EINVAL, NULL },
                { "json:{}", 512, -1, -EINVAL, NULL },
                { "base", 512, 0, -EINVAL, NULL },
                { "base", 512, 1024, -EINVAL, NULL },
                { "base", 512, 5, -EINVAL, NULL }, /* beyond the end */
                { "base", 1ULL << 63, 4, -EINVAL, NULL },
        };
        char *directory = harness_make_directory();
        _cleanup_free_ char *path = text_format("%s/image", directory);
        char buffer[4096];

        /* A name of a length that the format forbids, all of it there. */
        assert_int_equal(
                file_write(path, buffer, make_image(buffer, "", 512, 1024) + 1024, 0600, false, NULL), 0);
        assert_int_equal(image_find_backing(path, &(char *){ NULL }, NULL), -EINVAL);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                uint32_t length = cases[i].size < 0 ? (uint32_t)strlen(cases[i].name)
                                                    : (uint32_t)cases[i].size;
                size_t size = make_image(buffer, cases[i].name, cases[i].offset, length);
                bool near = cases[i].backing && text_starts_with(cases[i].backing, "./");
                _cleanup_free_ char *expected = near ? text_format("%s/%s", directory, cases[i].backing + 2)
                                                     : NULL;
                _cleanup_free_ char *backing = NULL;

                assert_int_equal(file_write(path, buffer, size, 0600, false, NULL), 0);
                assert_int_equal(image_find_backing(path, &backing, NULL), cases[i].result);
                if (!text_equal(backing, near ? expected : cases[i].backing))
                        fail_msg("case %zu: %s", i, backing ? backing : "none");
        }
        char *backing = (char *)"untouched";
        assert_int_equal(file_write(path, "QFI", 3, 0600, false, NULL), 0);
        assert_int_equal(image_find_backing(path, &backing, NULL), 0);
        assert_null(backing);
        assert_int_equal(image_find_backing("/nowhere/image", &backing, NULL), -ENOENT);
        harness_remove_directory(directory);
}

/* ---- Linkage ---- */

static void test_linkage(void **state) {
        char *directory = harness_make_directory();
        _cleanup_free_ char *path = text_format("%s/part", directory), *bytes = NULL;
        size_t size;

        assert_true(linkage_needs("/proc/self/exe", "libc.so"));
        assert_false(linkage_needs("/proc/self/exe", "liburing.so"));
        assert_false(linkage_needs("/proc/self/exe", "ibc.so"));
        assert_false(linkage_needs("/nowhere", "libc.so"));
        assert_false(linkage_needs("/", "libc.so"));

        /* Cut off anywhere, it is no more than not found. */
        assert_int_equal(file_read("/proc/self/exe", 64 * 1024 * 1024, &bytes, &size, NULL), 0);
        for (size_t part = 0; part < size; part += size / 97 + 1) {
                assert_int_equal(file_write(path, bytes, part, 0600, false, NULL), 0);
                linkage_needs(path, "libc.so");
        }
        assert_int_equal(file_write(path, "#!/bin/sh\n", 10, 0600, false, NULL), 0);
        assert_false(linkage_needs(path, "libc.so"));
        harness_remove_directory(directory);
}

/* ---- Listeners ---- */

static struct configuration_forward loopback(bool udp, uint16_t host_port) {
        return (struct configuration_forward){ .udp = udp,
                                               .address.s6_addr = { 127, 0, 0, 1 },
                                               .host_port = host_port };
}

static void test_listener(void **state) {
        struct configuration_forward any = loopback(false, 0),
                                     six = { .ipv6 = true, .address = IN6ADDR_LOOPBACK_INIT };
        struct error error = ERROR_INIT;
        _cleanup_fd_ int tcp = listener_open(&any, NULL);
        uint16_t port = listener_port(tcp);
        socklen_t size = sizeof(int);
        int listens = 0;

        assert_true(tcp >= 0);
        assert_true(port > 0);
        assert_true(fcntl(tcp, F_GETFD) & FD_CLOEXEC);
        assert_int_equal(getsockopt(tcp, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size), 0);
        assert_int_equal(listens, 1);

        any.host_port = port;
        assert_int_equal(listener_open(&any, &error), -EADDRINUSE);
        _cleanup_free_ char *text = text_format("TCP port %u of 127.0.0.1 is in use on this host", port);
        assert_string_equal(error.text, text);

        /* The same number is another port for UDP, and a second one is refused there too. */
        any.udp = true;
        _cleanup_fd_ int udp = listener_open(&any, NULL);
        assert_true(udp >= 0);
        assert_int_equal(listener_open(&any, NULL), -EADDRINUSE);

        json_auto_t *object = listener_describe(udp, 53);
        assert_string_equal(json_string_value(json_object_get(object, "protocol")), "udp");
        assert_string_equal(json_string_value(json_object_get(object, "listen_address")), "127.0.0.1");
        assert_int_equal(json_integer_value(json_object_get(object, "listen_port")), port);
        assert_int_equal(json_integer_value(json_object_get(object, "port")), 53);

        _cleanup_fd_ int ipv6 = listener_open(&six, NULL);
        if (ipv6 >= 0) { /* a machine without IPv6 has no such address */
                json_auto_t *described = listener_describe(ipv6, 1);
                assert_string_equal(json_string_value(json_object_get(described, "listen_address")), "::1");
        }

        struct configuration_forward elsewhere = { .address.s6_addr = { 192, 0, 2, 1 }, .host_port = 4000 };
        assert_int_equal(listener_open(&elsewhere, &error), -EADDRNOTAVAIL);
        assert_string_equal(error.text, "192.0.2.1 is no address of this host");
}

static void test_privileged_port(void **state) {
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                struct configuration_forward forward = loopback(false, 1);
                struct error error = ERROR_INIT;

                if (geteuid() == 0 && setuid(65534) < 0)
                        _exit(1);
                _exit(listener_open(&forward, &error) == -EACCES &&
                                      text_starts_with(error.text, "TCP port 1 is privileged: from 1024 on")
                              ? 0
                              : 2);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- Scrollback ---- */

/* Beside a plain string that always has everything. */
static void test_scrollback(void **state) {
        static const size_t sizes[] = { 0, 1, 3, 7, 10, 9, 1, 10, 25, 4, 0, 11, 2, 100, 6, 5, 10 };
        struct scrollback *scrollback = NULL;
        char all[512], next = 'a';
        size_t n = 0, size;

        assert_int_equal(scrollback_new(&scrollback, 10), 0);
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                size_t before = n;

                for (size_t j = 0; j < sizes[i]; j++, n++, next = next == 'z' ? 'a' : (char)(next + 1))
                        all[n] = next;
                if (i == 10) {
                        scrollback_set(scrollback, all, n);
                } else {
                        scrollback_add(scrollback, all + before, sizes[i]);
                }
                _cleanup_free_ char *copy = scrollback_copy(scrollback, &size);
                assert_int_equal(size, n < 10 ? n : 10);
                assert_memory_equal(copy, all + n - size, size);
        }
        scrollback_set(scrollback, "", 0);
        _cleanup_free_ char *empty = scrollback_copy(scrollback, &size);
        assert_non_null(empty);
        assert_int_equal(size, 0);
        assert_null(scrollback_free(scrollback));
}

HARNESS_MAIN(cmocka_unit_test(test_image), cmocka_unit_test(test_linkage), cmocka_unit_test(test_listener),
             cmocka_unit_test(test_privileged_port), cmocka_unit_test(test_scrollback))
