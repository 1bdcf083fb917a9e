#include "ssh-server.h"

#include "harness.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "fixture.h"

int ssh_server_listen(uint16_t *ret_port) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t size = sizeof(address);

        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 8), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
        *ret_port = ntohs(address.sin_port);
        return fd;
}

void ssh_server_refuse(int server) {
        int fd;

        fixture_wait_readable(server);
        fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 },
                                    sizeof(struct linger)),
                         0);
        fd_close(fd);
}

void ssh_server_greet(int server) {
        int fd;

        fixture_wait_readable(server);
        fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
        assert_int_equal(write(fd, "SSH-2.0-test\r\n", 14), 14);
        fd_close(fd);
}
