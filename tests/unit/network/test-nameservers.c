/* network/nameservers */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "harness.h"
#include "network/nameservers.h"

static void test_lines(void **state) {
        static const struct {
                const char *line, *address; /* NULL: no server */
        } lines[] = {
                { "nameserver 127.0.0.53", "127.0.0.53" },
                { "nameserver\t192.0.2.1", "192.0.2.1" },
                { "nameserver  \t 192.0.2.1 \t", "192.0.2.1" },
                { "nameserver 192.0.2.1\r", "192.0.2.1" },
                { "nameserver 192.0.2.1 # the office", "192.0.2.1" },
                { "nameserver 192.0.2.1;x", "192.0.2.1" },
                { "nameserver 2001:db8::53", "2001:db8::53" },
                { "nameserver fe80::1%7", "fe80::1" },
                { "nameserver ::ffff:192.0.2.1", "::ffff:192.0.2.1" },
                { "", NULL },
                { "nameserver", NULL },
                { "nameserver ", NULL },
                { "nameserver192.0.2.1", NULL },
                { " nameserver 192.0.2.1", NULL },
                { "# nameserver 192.0.2.1", NULL },
                { "nameservers 192.0.2.1", NULL },
                { "search example.org", NULL },
                { "nameserver 192.0.2", NULL },
                { "nameserver 192.0.2.1.1", NULL },
                { "nameserver dns.example.org", NULL },
                { "nameserver 1111:2222:3333:4444:5555:6666:7777:8888%a-name-too-long-for-a-device", NULL },
                { "nameserver fe80::1%", NULL },
                { "nameserver 192.0.2.1%eth0", NULL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
                struct nameserver server;
                char text[INET6_ADDRSTRLEN];

                bool is = nameservers_parse_line(lines[i].line, &server);
                if (is != !!lines[i].address)
                        fail_msg("\"%s\" %s a server", lines[i].line, is ? "is" : "is not");
                if (!is)
                        continue;
                const struct sockaddr_in *in = (struct sockaddr_in *)&server.address;
                const struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&server.address;
                bool v4 = in->sin_family == AF_INET;
                assert_int_equal(server.size, v4 ? sizeof(*in) : sizeof(*in6));
                assert_int_equal(ntohs(v4 ? in->sin_port : in6->sin6_port), 53);
                inet_ntop(in->sin_family, v4 ? (void *)&in->sin_addr : (void *)&in6->sin6_addr, text,
                          sizeof(text));
                assert_string_equal(text, lines[i].address);
        }
}

/* A link's name is one of the host's namespace, which we are not in; its number is the same everywhere. */
static void test_zones(void **state) {
        struct nameserver server;

        assert_true(nameservers_parse_line("nameserver fe80::1%eth0", &server));
        assert_string_equal(server.zone, "eth0");
        assert_int_equal(((struct sockaddr_in6 *)&server.address)->sin6_scope_id, 0);
        assert_true(nameservers_parse_line("nameserver fe80::1%12", &server));
        assert_string_equal(server.zone, "");
        assert_int_equal(((struct sockaddr_in6 *)&server.address)->sin6_scope_id, 12);
        assert_true(nameservers_parse_line("nameserver fe80::1", &server));
        assert_string_equal(server.zone, "");
}

static void write_file(const char *path, const char *text) {
        assert_int_equal(file_write(path, text, strlen(text), 0644, false, NULL), 0);
}

static uint32_t preferred(const struct nameservers *nameservers) {
        const struct nameserver *server = &nameservers->servers[nameservers->preferred];

        assert_true(nameservers->preferred < nameservers->n);
        return ntohl(((struct sockaddr_in *)&server->address)->sin_addr.s_addr);
}

static void test_refresh(void **state) {
        char *directory = harness_make_directory();
        _cleanup_free_ char *path = text_format("%s/resolv.conf", directory);
        struct nameservers nameservers = {};

        nameservers_refresh(&nameservers, path);
        assert_int_equal(nameservers.n, 0);
        write_file(path, "search x\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n");
        nameservers_refresh(&nameservers, path);
        assert_int_equal(nameservers.n, 2);
        assert_int_equal(preferred(&nameservers), 0xc0000201);

        /* Replaced by a file of the same size. */
        write_file(path, "search x\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n");
        nameservers_refresh(&nameservers, path);
        assert_int_equal(preferred(&nameservers), 0xc0000203);

        /* Changed in place. */
        FILE *f = fopen(path, "ae");
        assert_non_null(f);
        fputs("nameserver 192.0.2.5\nnameserver 192.0.2.6", f);
        assert_int_equal(fclose(f), 0);
        nameservers_refresh(&nameservers, path);
        assert_int_equal(nameservers.n, NAMESERVERS_MAX);

        assert_int_equal(remove(path), 0);
        nameservers_refresh(&nameservers, path);
        assert_int_equal(nameservers.n, 0);
        harness_remove_directory(directory);
}

/* Two queries that were put to the same server and got no answer are one failure of it, not two. */
static void test_skip(void **state) {
        char *directory = harness_make_directory();
        _cleanup_free_ char *path = text_format("%s/resolv.conf", directory);
        struct nameservers nameservers = {};

        nameservers_skip(&nameservers, 0); /* there is none: nothing happens */
        write_file(path, "nameserver 192.0.2.1\nnameserver 192.0.2.2\n");
        nameservers_refresh(&nameservers, path);
        nameservers_skip(&nameservers, 0);
        nameservers_skip(&nameservers, 0);
        assert_int_equal(preferred(&nameservers), 0xc0000202);
        nameservers_refresh(&nameservers, path); /* not another file: the preference stays */
        assert_int_equal(preferred(&nameservers), 0xc0000202);
        nameservers_skip(&nameservers, 1);
        assert_int_equal(preferred(&nameservers), 0xc0000201);

        write_file(path, "nameserver 192.0.2.1\n");
        nameservers_refresh(&nameservers, path);
        nameservers_skip(&nameservers, 0);
        assert_int_equal(preferred(&nameservers), 0xc0000201);
        harness_remove_directory(directory);
}

HARNESS_MAIN(cmocka_unit_test(test_lines), cmocka_unit_test(test_zones), cmocka_unit_test(test_refresh),
             cmocka_unit_test(test_skip))
