/* vmhost/listener: the ports of the host that are asked for */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/fd.h"
#include "harness.h"
#include "vmhost/listener.h"

static struct configuration_forward loopback(bool udp, uint16_t port) {
        struct configuration_forward f = { .udp = udp, .host_port = port, .guest_port = 53 };
        const struct in_addr address = { htonl(INADDR_LOOPBACK) };

        memcpy(&f.address, &address, sizeof(address));
        return f;
}

static void check_in_use(bool udp) {
        struct configuration_forward f = loopback(udp, 0);
        struct error error = ERROR_INIT;
        char expected[64];

        _cleanup_fd_ int first = listener_open(&f, &error);
        assert_true(first >= 0);
        f.host_port = listener_port(first);
        assert_true(f.host_port > 0);
        assert_int_equal(listener_open(&f, &error), -EADDRINUSE);
        snprintf(expected, sizeof(expected), "%s port %u of 127.0.0.1 is in use on this host", udp ? "UDP" : "TCP",
                 f.host_port);
        assert_string_equal(error.text, expected);
}

static void test_in_use(void **state) {
        check_in_use(false);
        check_in_use(true);
}

static int held;

static void on_alarm(int signal) {
        close(held);
}

/* The port of a UDP forward that just ended is had, as soon as whoever has a copy of its socket closes that. */
static void test_just_ended(void **state) {
        const struct itimerval soon = { .it_value.tv_usec = 30000 };
        struct itimerval before; /* the harness's alarm(2) */
        struct configuration_forward f = loopback(true, 0);
        struct error error = ERROR_INIT;

        held = listener_open(&f, &error);
        f.host_port = listener_port(held);
        signal(SIGALRM, on_alarm);
        assert_int_equal(setitimer(ITIMER_REAL, &soon, &before), 0);
        _cleanup_fd_ int next = listener_open(&f, &error);
        signal(SIGALRM, SIG_DFL);
        assert_int_equal(setitimer(ITIMER_REAL, &before, NULL), 0);
        assert_true(next >= 0);
        assert_int_equal(listener_port(next), f.host_port);
}

HARNESS_MAIN(cmocka_unit_test(test_in_use), cmocka_unit_test(test_just_ended))
