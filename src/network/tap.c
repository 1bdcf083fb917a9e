#include "network/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"

static int explain(int code, struct error *error) {
        if (code == -ENOENT || code == -ENODEV || code == -ENXIO)
                return error_set(error, code, "there is no /dev/net/tun: load the module (modprobe tun)");
        if (code == -EACCES || code == -EPERM)
                return error_set(error, code,
                                 "this user may not open /dev/net/tun: it is 0666 on ordinary distributions (chmod "
                                 "0666 /dev/net/tun)");
        return error_errno(error, code, "opening /dev/net/tun");
}

int tap_check(struct error *error) {
        _cleanup_fd_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

        return fd < 0 ? explain(-errno, error) : 0;
}

/* One queue: the first makes the device, further ones attach to it. */
static int open_queue(const char *name, bool many, struct error *error) {
        struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
        int header = TAP_VNET_HEADER_SIZE;

        _cleanup_fd_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
                return explain(-errno, error);

        strncpy(ifr.ifr_name, name, sizeof(ifr.ifr_name) - 1);
        if (many)
                ifr.ifr_flags |= IFF_MULTI_QUEUE;
        if (ioctl(fd, TUNSETIFF, &ifr) < 0)
                return error_errno(error, -errno, "making the tap %s", name);
        if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0 ||
            ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN) < 0)
                return error_errno(error, -errno, "setting the offloads of the tap %s", name);
        return steal_fd(&fd);
}

int tap_open(const char *name, size_t queues, int ret[static TAP_QUEUES_MAX], struct error *error) {
        for (size_t i = 0; i < queues; i++) {
                ret[i] = open_queue(name, queues > 1, error);
                if (ret[i] < 0) {
                        int r = ret[i];
                        while (i-- > 0)
                                ret[i] = fd_close(ret[i]);
                        return r;
                }
        }
        return 0;
}
