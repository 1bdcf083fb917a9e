#include "vmhost/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"

int endpoint_connect(const char *directory, const char *name) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_fd_ int at = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;

        if (at < 0)
                return -errno;
        int n = snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", at, name);
        if (n < 0 || (size_t)n >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return -errno;
        return steal_fd(&fd);
}
