#include "broker/activation.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */

static bool is_listening_unix(int fd) {
        int value = 0;
        socklen_t size = sizeof(value);

        if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &size) < 0 || value != AF_UNIX)
                return false;
        size = sizeof(value);
        return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value;
}

int activation_take_socket(void) {
        const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
        uint64_t for_pid = 0;
        bool ours = pid && text_parse_u64(pid, INT32_MAX, &for_pid) == 0 && for_pid == (uint64_t)getpid();
        bool one = text_equal(fds, "1");

        unsetenv("LISTEN_PID");
        unsetenv("LISTEN_FDS");
        unsetenv("LISTEN_FDNAMES");
        if (!ours || !fds)
                return -1;
        if (!one || !is_listening_unix(FIRST_FD) || fd_set_cloexec(FIRST_FD, true) < 0)
                return -EINVAL;
        return FIRST_FD;
}

void activation_notify(const char *state) {
        const char *path = getenv("NOTIFY_SOCKET");
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(address.sun_path))
                return;
        size_t length = strlen(path);
        memcpy(address.sun_path, path, length);
        if (path[0] == '@')
                address.sun_path[0] = 0; /* an abstract name */

        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
                             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
                log_warning("cannot notify the service manager: %s", strerror(errno));
}
